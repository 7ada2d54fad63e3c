-- +goose Up
-- Nearly every order is moved within a second, and its page is written together with those of its batch: all of them
-- need their room at once.
ALTER TABLE orders SET (fillfactor = 50);

-- +goose Down
ALTER TABLE orders SET (fillfactor = 80);
