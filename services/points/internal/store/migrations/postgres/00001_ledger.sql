-- +goose Up

-- Append-only. The key is what makes a repeated event harmless, so rows are never purged.
CREATE TABLE ledger (
    order_id uuid   NOT NULL,
    kind     text   NOT NULL CHECK (kind IN ('award', 'take_back')),
    user_id  text   NOT NULL,
    points   bigint NOT NULL, -- below zero when taken back
    at_ms    bigint NOT NULL,
    PRIMARY KEY (order_id, kind)
);

-- The sum of each customer's ledger. No row is a balance of zero.
CREATE TABLE balances (
    user_id text   PRIMARY KEY,
    points  bigint NOT NULL
) WITH (fillfactor = 80); -- room for updates in place

-- +goose Down
DROP TABLE balances;
DROP TABLE ledger;
