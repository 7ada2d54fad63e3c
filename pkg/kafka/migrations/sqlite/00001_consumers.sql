-- +goose Up
-- Where each group stands in each partition. next - first = applied + parked + dead, always: whatever moves next
-- otherwise (a gap, a topic made anew) moves first as far.
CREATE TABLE consumer_offsets (
    consumer_group text   NOT NULL,
    topic          text   NOT NULL,
    partition      int    NOT NULL,
    first          integer NOT NULL,
    next           integer NOT NULL,
    applied        integer NOT NULL DEFAULT 0,
    parked         integer NOT NULL DEFAULT 0,
    dead           integer NOT NULL DEFAULT 0,
    PRIMARY KEY (consumer_group, topic, partition)
);

-- Records whose handler failed and that are tried again at retry_at (unix ms).
CREATE TABLE parked (
    consumer_group  text   NOT NULL,
    topic           text   NOT NULL,
    partition       int    NOT NULL,
    record_offset   integer NOT NULL,
    key             blob,
    value           blob,
    headers         blob  NOT NULL,
    record_time     integer NOT NULL,
    attempts        int    NOT NULL,
    first_failed_at integer NOT NULL,
    last_failed_at  integer NOT NULL,
    retry_at        integer NOT NULL,
    error_kind      text   NOT NULL,
    error           text   NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition, record_offset)
);

-- +goose Down
DROP TABLE parked;
DROP TABLE consumer_offsets;
