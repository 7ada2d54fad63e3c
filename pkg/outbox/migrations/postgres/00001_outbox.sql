-- +goose Up
-- Rows are appended by business transactions, in id order for each key, and not updated but by a rebase.
-- xid comes first so that a row's transaction has its number before the row has its id.
CREATE TABLE outbox (
    xid         xid8     NOT NULL DEFAULT pg_current_xact_id(),
    id          bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at  bigint   NOT NULL, -- when it was appended, unix milliseconds by the database's clock
    occurred_at bigint   NOT NULL, -- when the event was first appended: ce_time; a republished copy keeps it
    version     bigint   NOT NULL,
    shard       smallint NOT NULL,
    copy        boolean  NOT NULL, -- made by republish
    event_id    text     NOT NULL,
    type        text     NOT NULL,
    topic       text     NOT NULL,
    key         bytea,
    value       bytea,
    headers     bytea    NOT NULL,
    traceparent text     NOT NULL,
    tracestate  text     NOT NULL
);
CREATE INDEX outbox_by_commit ON outbox (shard, xid, id);

-- Where each shard's reading stands. Everything visible in done was sent. When until is set, the window between the two
-- is being sent in id order, page by page, and is sent up to after; its last row is high.
CREATE TABLE outbox_cursors (
    shard   smallint    PRIMARY KEY,
    done    pg_snapshot NOT NULL DEFAULT '1:1:',
    until   pg_snapshot,
    after   bigint      NOT NULL DEFAULT 0,
    high    bigint      NOT NULL DEFAULT 0,
    sent    bigint      NOT NULL DEFAULT 0, -- the greatest id that was ever sent
    cluster bigint      NOT NULL DEFAULT 0  -- the server whose transaction numbers these are; 0 before the first relay
) WITH (fillfactor = 10);
INSERT INTO outbox_cursors (shard) SELECT generate_series(0, 15);

-- +goose Down
DROP TABLE outbox_cursors;
DROP TABLE outbox;
