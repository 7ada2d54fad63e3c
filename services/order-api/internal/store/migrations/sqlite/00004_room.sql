-- +goose Up
-- SQLite's pages leave no room.
SELECT 1;

-- +goose Down
SELECT 1;
