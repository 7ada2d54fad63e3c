-- +goose Up

-- Append-only. The key is what makes a repeated event harmless, so rows are never purged.
CREATE TABLE ledger (
    order_id TEXT   NOT NULL,
    kind     TEXT   NOT NULL CHECK (kind IN ('award', 'take_back')),
    user_id  TEXT   NOT NULL,
    points   BIGINT NOT NULL, -- below zero when taken back
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (order_id, kind)
) WITHOUT ROWID;

-- The sum of each customer's ledger. No row is a balance of zero.
CREATE TABLE balances (
    user_id TEXT   PRIMARY KEY,
    points  BIGINT NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE balances;
DROP TABLE ledger;
