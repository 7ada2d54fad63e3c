-- +goose Up
-- Entries are found by their order. An index on seq alone was written for each of them and read for none.
ALTER TABLE timeline DROP CONSTRAINT timeline_pkey;

-- +goose Down
ALTER TABLE timeline ADD PRIMARY KEY (seq);
