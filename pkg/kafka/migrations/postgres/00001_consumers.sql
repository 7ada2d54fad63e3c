-- +goose Up
-- Where each group stands in each partition. next - first = applied + parked + dead, always: whatever moves next
-- otherwise (a gap, a topic made anew) moves first as far.
CREATE TABLE consumer_offsets (
    consumer_group text   NOT NULL,
    topic          text   NOT NULL,
    partition      int    NOT NULL,
    first          bigint NOT NULL,
    next           bigint NOT NULL,
    applied        bigint NOT NULL DEFAULT 0,
    parked         bigint NOT NULL DEFAULT 0,
    dead           bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (consumer_group, topic, partition)
) WITH (fillfactor = 50);

-- Records whose handler failed and that are tried again at retry_at (unix ms).
CREATE TABLE parked (
    consumer_group  text   NOT NULL,
    topic           text   NOT NULL,
    partition       int    NOT NULL,
    record_offset   bigint NOT NULL,
    key             bytea,
    value           bytea,
    headers         bytea  NOT NULL,
    record_time     bigint NOT NULL,
    attempts        int    NOT NULL,
    first_failed_at bigint NOT NULL,
    last_failed_at  bigint NOT NULL,
    retry_at        bigint NOT NULL,
    error_kind      text   NOT NULL,
    error           text   NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition, record_offset)
);

-- +goose Down
DROP TABLE parked;
DROP TABLE consumer_offsets;
