-- +goose Up

-- The same tables as on Postgres, where their comments are.
CREATE TABLE orders (
    id          TEXT PRIMARY KEY,
    user_id     TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    payment     TEXT    NOT NULL,
    payment_ref TEXT    NOT NULL DEFAULT '',
    held_ref    TEXT    NOT NULL DEFAULT '',
    total_cents INTEGER NOT NULL,
    currency    TEXT    NOT NULL,
    reference   TEXT    NOT NULL,
    metadata    TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    due_at      INTEGER,
    reason      TEXT    NOT NULL DEFAULT '',
    placed_by   TEXT    NOT NULL,
    idem_key    TEXT,
    fingerprint TEXT    NOT NULL,
    live        BOOLEAN NOT NULL DEFAULT true,
    deleted_at  DATETIME
);

CREATE UNIQUE INDEX orders_user_key ON orders (user_id, idem_key) WHERE idem_key IS NOT NULL;
CREATE INDEX orders_of_user ON orders (user_id, created_at DESC, id DESC);
CREATE INDEX orders_due ON orders (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE order_items (
    order_id         TEXT    NOT NULL,
    sku_id           TEXT    NOT NULL,
    quantity         INTEGER NOT NULL CHECK (quantity > 0),
    unit_price_cents INTEGER NOT NULL,
    PRIMARY KEY (order_id, sku_id)
);

CREATE TABLE payments (
    order_id     TEXT    NOT NULL,
    payment_ref  TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    amount_cents INTEGER NOT NULL,
    currency     TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (order_id, payment_ref)
);

CREATE TABLE allotments (
    sku_id    TEXT PRIMARY KEY,
    remaining INTEGER NOT NULL DEFAULT 0 CHECK (remaining >= 0),
    owed      INTEGER NOT NULL DEFAULT 0 CHECK (owed >= 0),
    granted   INTEGER NOT NULL DEFAULT 0,
    revoked   INTEGER NOT NULL DEFAULT 0,
    CHECK (remaining = 0 OR owed = 0)
);

CREATE TABLE grants (
    id     TEXT PRIMARY KEY,
    sku_id TEXT    NOT NULL,
    units  INTEGER NOT NULL
);

CREATE TABLE items (
    sku_id             TEXT PRIMARY KEY,
    name               TEXT    NOT NULL,
    unit_price_cents   INTEGER NOT NULL,
    currency           TEXT    NOT NULL,
    per_customer_limit INTEGER NOT NULL,
    version            INTEGER NOT NULL,
    retired            BOOLEAN NOT NULL
);

CREATE TABLE timeline (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    service  TEXT    NOT NULL,
    what     TEXT    NOT NULL,
    by_whom  TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    UNIQUE (order_id, key)
);

-- +goose Down
DROP TABLE timeline;
DROP TABLE items;
DROP TABLE grants;
DROP TABLE allotments;
DROP TABLE payments;
DROP TABLE order_items;
DROP TABLE orders;
