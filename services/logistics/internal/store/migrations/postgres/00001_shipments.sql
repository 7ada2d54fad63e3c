-- +goose Up

-- One for each order that was paid. Rows are never purged: they are what makes a late event harmless.
CREATE TABLE shipments (
    order_id    uuid PRIMARY KEY,
    id          uuid NOT NULL UNIQUE, -- made from the order's
    status      text NOT NULL CHECK (status IN ('created', 'shipped', 'delivered', 'called_off')),
    carrier     text NOT NULL DEFAULT '',
    tracking_no text NOT NULL DEFAULT ''
);

-- Who moved a shipment and when. Append-only; its key makes repeated news harmless.
CREATE TABLE steps (
    order_id uuid   NOT NULL,
    status   text   NOT NULL CHECK (status IN ('created', 'shipped', 'delivered', 'called_off')),
    told_by  text   NOT NULL,
    at_ms    bigint NOT NULL,
    PRIMARY KEY (order_id, status)
);

-- +goose Down
DROP TABLE steps;
DROP TABLE shipments;
