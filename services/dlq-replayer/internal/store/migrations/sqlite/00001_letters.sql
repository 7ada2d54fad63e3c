-- +goose Up

-- What groups gave up, as it came. One row for each (group, event); for records without an event that can be read, each
-- (group, place).
CREATE TABLE letters (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of arrival, for pages
    id             text   NOT NULL UNIQUE,
    consumer_group text   NOT NULL,
    event_id       text   NOT NULL,
    event_type     text   NOT NULL,
    raw            INTEGER NOT NULL,
    topic          text   NOT NULL,
    partition      int    NOT NULL,
    record_offset  INTEGER NOT NULL,
    key            BLOB,
    value          BLOB,
    headers        BLOB  NOT NULL,
    omitted_bytes  INTEGER NOT NULL,
    state          text   NOT NULL,
    deaths         int    NOT NULL,
    cause          text   NOT NULL,
    attempts       int    NOT NULL,
    first_failed_at INTEGER NOT NULL,
    last_failed_at INTEGER NOT NULL,
    error_kind     text   NOT NULL,
    error          text   NOT NULL,
    collected_at   INTEGER NOT NULL,
    revision       INTEGER NOT NULL DEFAULT 0, -- how often its value was mended
    rehearsed      INTEGER NOT NULL DEFAULT 0  -- the newest revision that a rehearsal found fit to be applied
);
CREATE INDEX letters_by_state ON letters (state, seq DESC);
CREATE INDEX letters_by_cause ON letters (cause, state, seq DESC);
CREATE INDEX letters_by_group ON letters (consumer_group, state, seq DESC);
CREATE INDEX letters_by_topic ON letters (topic, seq DESC);
CREATE INDEX letters_by_type ON letters (event_type, seq DESC);
CREATE INDEX letters_by_kind ON letters (error_kind, seq DESC);
-- A key may be longer than an index entry.
CREATE INDEX letters_by_key ON letters (substr(key, 1, 200), seq DESC);
CREATE INDEX letters_by_time ON letters (last_failed_at, seq DESC);

-- Every death of a letter. The place and the time name it, so that one which is told twice counts once.
CREATE TABLE failures (
    letter          text   NOT NULL,
    topic           text   NOT NULL,
    partition       int    NOT NULL,
    record_offset   INTEGER NOT NULL,
    last_failed_at  INTEGER NOT NULL,
    first_failed_at INTEGER NOT NULL,
    attempts        int    NOT NULL,
    error_kind      text   NOT NULL,
    error           text   NOT NULL,
    via             text   NOT NULL, -- how it was told: by the group's dead letter (empty), replay, or import
    PRIMARY KEY (letter, topic, partition, record_offset, last_failed_at)
);

-- What letters died of. dead is how many of them are dead now, kept by the transactions that change it.
CREATE TABLE causes (
    id             text   PRIMARY KEY,
    consumer_group text   NOT NULL,
    error_kind     text   NOT NULL,
    message        text   NOT NULL,
    dead           INTEGER NOT NULL,
    first_seen_at  INTEGER NOT NULL,
    last_seen_at   INTEGER NOT NULL,
    newest         text   NOT NULL, -- letter
    note           text   NOT NULL DEFAULT '',
    muted          INTEGER NOT NULL DEFAULT 0
);

-- How often a cause struck, by the minute: the rate of the last hour is a sum of sixty rows, however many letters there are.
CREATE TABLE cause_minutes (
    cause  text    NOT NULL,
    minute INTEGER NOT NULL, -- unix ms / 60000
    deaths INTEGER NOT NULL,
    PRIMARY KEY (cause, minute)
);

-- +goose Down
DROP TABLE cause_minutes;
DROP TABLE causes;
DROP TABLE failures;
DROP TABLE letters;
