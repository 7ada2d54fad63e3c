-- +goose Up

-- Keys compare byte by byte, and a plan that looks one up can take no other index: it was made for a table of any size.
CREATE UNIQUE INDEX orders_key ON orders (user_id COLLATE "C", idem_key COLLATE "C") WHERE idem_key IS NOT NULL;
DROP INDEX orders_user_key;
ALTER INDEX orders_key RENAME TO orders_user_key;

-- +goose Down
CREATE UNIQUE INDEX orders_key ON orders (user_id, idem_key) WHERE idem_key IS NOT NULL;
DROP INDEX orders_user_key;
ALTER INDEX orders_key RENAME TO orders_user_key;
