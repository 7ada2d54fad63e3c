-- +goose Up

-- Replays: what was selected, why and by whom, how far it is. The counts are kept by the transactions that move letters
-- and add up to the selection in every snapshot.
CREATE TABLE jobs (
    id              text   PRIMARY KEY, -- UUID v7: newer ids are greater
    mode            text   NOT NULL,
    selection       text   NOT NULL, -- JSON
    reason          text   NOT NULL,
    asked_by        text   NOT NULL,
    state           text   NOT NULL,
    why             text   NOT NULL,
    rate            int    NOT NULL,
    budget          int    NOT NULL,
    batch           int    NOT NULL,
    batch_left      int    NOT NULL,
    next_at         bigint NOT NULL, -- unix microseconds: the pace
    answered_before int    NOT NULL,
    failed_before   int    NOT NULL,
    waiting         int    NOT NULL,
    sent            int    NOT NULL,
    applied         int    NOT NULL,
    already_applied int    NOT NULL,
    failed_again    int    NOT NULL,
    no_answer       int    NOT NULL,
    skipped         int    NOT NULL,
    not_sent        int    NOT NULL,
    created_at      bigint NOT NULL,
    ended_at        bigint NOT NULL
);
CREATE INDEX jobs_open ON jobs (id) WHERE waiting > 0 OR sent > 0;

-- The frozen selection of a job, and what became of each letter.
CREATE TABLE job_letters (
    job         text   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    n           bigint NOT NULL,
    letter      text   NOT NULL,
    outcome     text   NOT NULL,
    claim       text   UNIQUE, -- the letter, while a run is not through with it: a letter is in one running job at most
    asks        int    NOT NULL DEFAULT 0,
    sent_at     bigint NOT NULL DEFAULT 0,
    revision    int    NOT NULL DEFAULT 0, -- of the letter, as it was sent
    answered_at bigint NOT NULL DEFAULT 0,
    error_kind  text   NOT NULL DEFAULT '',
    error       text   NOT NULL DEFAULT '',
    PRIMARY KEY (job, letter)
);
CREATE INDEX job_letters_in_order ON job_letters (job, n);
CREATE INDEX job_letters_by_outcome ON job_letters (job, outcome, n);
CREATE INDEX job_letters_by_letter ON job_letters (letter);

-- +goose Down
DROP TABLE job_letters;
DROP TABLE jobs;
