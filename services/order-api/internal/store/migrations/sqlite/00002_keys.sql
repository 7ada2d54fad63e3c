-- +goose Up
-- SQLite compares keys byte by byte anyway, and plans each statement when it runs.
SELECT 1;

-- +goose Down
SELECT 1;
