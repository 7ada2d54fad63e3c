-- +goose Up

CREATE TABLE items (
    sku                text    PRIMARY KEY,
    version            bigint  NOT NULL, -- one more with every change
    name               text    NOT NULL,
    unit_price_cents   bigint  NOT NULL,
    currency           text    NOT NULL,
    per_customer_limit integer NOT NULL, -- 0 for none
    retired            boolean NOT NULL,
    changed_by         text    NOT NULL,
    changed_at_ms      bigint  NOT NULL
);

-- The units of each item that was ever listed. Every event of a hot item moves its row.
CREATE TABLE stock (
    sku            text   PRIMARY KEY,
    on_hand        bigint NOT NULL DEFAULT 0,
    ungranted      bigint NOT NULL DEFAULT 0,
    granted_unsold bigint NOT NULL DEFAULT 0,
    booked         bigint NOT NULL DEFAULT 0 CHECK (booked >= 0),
    granted        bigint NOT NULL DEFAULT 0,
    revoked        bigint NOT NULL DEFAULT 0,
    CONSTRAINT every_unit_is_somewhere CHECK (on_hand = ungranted + granted_unsold + booked)
) WITH (fillfactor = 50);

-- The ledger of units that came and went. Append-only; its key makes a repeated request harmless.
CREATE TABLE changes (
    sku        text   NOT NULL,
    request_id text   NOT NULL,
    units      bigint NOT NULL CHECK (units <> 0),
    reason     text   NOT NULL,
    asked_by   text   NOT NULL,
    at_ms      bigint NOT NULL,
    PRIMARY KEY (sku, request_id)
);

-- Where each order's booking stands. Rows are never purged: they are what makes a late event harmless.
CREATE TABLE bookings (
    order_id uuid PRIMARY KEY,
    state    text NOT NULL CHECK (state IN ('booked', 'released', 'shipped'))
);

-- The ledger of orders' units. Append-only; the rows of kind booked are the order's lines.
CREATE TABLE movements (
    order_id uuid   NOT NULL,
    kind     text   NOT NULL CHECK (kind IN ('booked', 'released', 'shipped')),
    sku      text   NOT NULL,
    units    bigint NOT NULL CHECK (units > 0),
    at_ms    bigint NOT NULL,
    PRIMARY KEY (order_id, kind, sku)
);

-- +goose Down
DROP TABLE movements;
DROP TABLE bookings;
DROP TABLE changes;
DROP TABLE stock;
DROP TABLE items;
