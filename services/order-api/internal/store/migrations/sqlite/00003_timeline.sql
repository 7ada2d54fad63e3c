-- +goose Up
-- On SQLite seq is the row's own number and has no index.
SELECT 1;

-- +goose Down
SELECT 1;
