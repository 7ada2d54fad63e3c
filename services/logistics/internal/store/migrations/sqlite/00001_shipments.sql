-- +goose Up

-- One for each order that was paid. Rows are never purged: they are what makes a late event harmless.
CREATE TABLE shipments (
    order_id    TEXT PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE, -- made from the order's
    status      TEXT NOT NULL CHECK (status IN ('created', 'shipped', 'delivered', 'called_off')),
    carrier     TEXT NOT NULL DEFAULT '',
    tracking_no TEXT NOT NULL DEFAULT ''
);

-- Who moved a shipment and when. Append-only; its key makes repeated news harmless.
CREATE TABLE steps (
    order_id TEXT   NOT NULL,
    status   TEXT   NOT NULL CHECK (status IN ('created', 'shipped', 'delivered', 'called_off')),
    told_by  TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (order_id, status)
);

-- +goose Down
DROP TABLE steps;
DROP TABLE shipments;
