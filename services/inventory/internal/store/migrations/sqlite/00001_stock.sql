-- +goose Up

CREATE TABLE items (
    sku                TEXT    PRIMARY KEY,
    version            BIGINT  NOT NULL, -- one more with every change
    name               TEXT    NOT NULL,
    unit_price_cents   BIGINT  NOT NULL,
    currency           TEXT    NOT NULL,
    per_customer_limit INTEGER NOT NULL, -- 0 for none
    retired            BOOLEAN NOT NULL,
    changed_by         TEXT    NOT NULL,
    changed_at_ms      BIGINT  NOT NULL
);

-- The units of each item that was ever listed. Every event of a hot item moves its row.
CREATE TABLE stock (
    sku            TEXT   PRIMARY KEY,
    on_hand        BIGINT NOT NULL DEFAULT 0,
    ungranted      BIGINT NOT NULL DEFAULT 0,
    granted_unsold BIGINT NOT NULL DEFAULT 0,
    booked         BIGINT NOT NULL DEFAULT 0 CHECK (booked >= 0),
    granted        BIGINT NOT NULL DEFAULT 0,
    revoked        BIGINT NOT NULL DEFAULT 0,
    CONSTRAINT every_unit_is_somewhere CHECK (on_hand = ungranted + granted_unsold + booked)
);

-- The ledger of units that came and went. Append-only; its key makes a repeated request harmless.
CREATE TABLE changes (
    sku        TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    units      BIGINT NOT NULL CHECK (units <> 0),
    reason     TEXT   NOT NULL,
    asked_by   TEXT   NOT NULL,
    at_ms      BIGINT NOT NULL,
    PRIMARY KEY (sku, request_id)
);

-- Where each order's booking stands. Rows are never purged: they are what makes a late event harmless.
CREATE TABLE bookings (
    order_id TEXT PRIMARY KEY,
    state    TEXT NOT NULL CHECK (state IN ('booked', 'released', 'shipped'))
);

-- The ledger of orders' units. Append-only; the rows of kind booked are the order's lines.
CREATE TABLE movements (
    order_id TEXT   NOT NULL,
    kind     TEXT   NOT NULL CHECK (kind IN ('booked', 'released', 'shipped')),
    sku      TEXT   NOT NULL,
    units    BIGINT NOT NULL CHECK (units > 0),
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (order_id, kind, sku)
);

-- +goose Down
DROP TABLE movements;
DROP TABLE bookings;
DROP TABLE changes;
DROP TABLE stock;
DROP TABLE items;
