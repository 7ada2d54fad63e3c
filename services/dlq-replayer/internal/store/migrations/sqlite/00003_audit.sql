-- +goose Up

-- Who did what, when, why and on what. Each row carries a hash over itself and the hash before it; the head says how many
-- there are and what the last one's is, so that rows missing at the end are missed too.
CREATE TABLE audit (
    n       bigint PRIMARY KEY,
    at      bigint NOT NULL,
    who     text   NOT NULL,
    action  text   NOT NULL,
    subject text   NOT NULL,
    reason  text   NOT NULL,
    detail  text   NOT NULL, -- JSON
    hash    text   NOT NULL
);
-- +goose StatementBegin
CREATE TRIGGER audit_keeps BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is appended only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is appended only'); END;
-- +goose StatementEnd
CREATE TABLE audit_head (
    one  int    PRIMARY KEY CHECK (one = 1),
    n    bigint NOT NULL,
    hash text   NOT NULL
);
INSERT INTO audit_head VALUES (1, 0, '');

-- What was mended: the value before and after, in order. The first before is the letter as it came.
CREATE TABLE edits (
    letter   text   NOT NULL,
    revision int    NOT NULL,
    at       bigint NOT NULL,
    who      text   NOT NULL,
    reason   text   NOT NULL,
    before   blob,
    after    blob,
    PRIMARY KEY (letter, revision)
);

-- +goose Down
DROP TABLE edits;
DROP TABLE audit_head;
DROP TABLE audit;
