-- +goose Up
-- One writer at a time, so ids are in commit order. AUTOINCREMENT, lest a deleted row's id is given out again behind
-- the cursor.
CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at  BIGINT  NOT NULL, -- when it was appended, unix milliseconds
    occurred_at BIGINT  NOT NULL, -- when the event was first appended: ce_time; a republished copy keeps it
    version     BIGINT  NOT NULL,
    shard       INTEGER NOT NULL,
    copy        BOOLEAN NOT NULL, -- made by republish
    event_id    TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    key         BLOB,
    value       BLOB,
    headers     BLOB    NOT NULL,
    traceparent TEXT    NOT NULL,
    tracestate  TEXT    NOT NULL
);

-- One row: everything up to sent was sent.
CREATE TABLE outbox_cursors (
    shard INTEGER PRIMARY KEY,
    sent  BIGINT  NOT NULL DEFAULT 0
);
INSERT INTO outbox_cursors (shard) VALUES (0);

-- +goose Down
DROP TABLE outbox_cursors;
DROP TABLE outbox;
