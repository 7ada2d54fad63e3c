-- +goose Up

-- No index holds a column that a move writes (the partial one on due_at is left once, when the money is in or the order
-- ends), so that moves rewrite a row inside its page: the fill factor leaves them room.
CREATE TABLE orders (
    id          uuid PRIMARY KEY,
    user_id     text    NOT NULL,
    status      text    NOT NULL,
    payment     text    NOT NULL,
    payment_ref text    NOT NULL DEFAULT '', -- the payment that made it paid
    held_ref    text    NOT NULL DEFAULT '', -- the payment that is in, also before the order is booked
    total_cents bigint  NOT NULL,
    currency    text    NOT NULL,
    reference   text    NOT NULL,
    metadata    text    NOT NULL,            -- a JSON object, or empty
    version     bigint  NOT NULL,
    created_at  bigint  NOT NULL,            -- milliseconds since 1970 UTC, as all times here
    updated_at  bigint  NOT NULL,
    expires_at  bigint  NOT NULL,            -- 0 for none; kept for good
    due_at      bigint,                      -- when the sweeper cancels it; null once it need not
    reason      text    NOT NULL DEFAULT '',
    placed_by   text    NOT NULL,
    idem_key    text,
    fingerprint text    NOT NULL,
    live        boolean NOT NULL DEFAULT true, -- its units were not given back
    deleted_at  timestamptz                    -- hidden from its owner's lists, from nothing else
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX orders_user_key ON orders (user_id, idem_key) WHERE idem_key IS NOT NULL;
CREATE INDEX orders_of_user ON orders (user_id, created_at DESC, id DESC);
CREATE INDEX orders_due ON orders (due_at) WHERE due_at IS NOT NULL;

-- Rows are written with their order and never again, so no foreign key asks the orders table about each of them.
CREATE TABLE order_items (
    order_id         uuid   NOT NULL,
    sku_id           text   NOT NULL,
    quantity         bigint NOT NULL CHECK (quantity > 0),
    unit_price_cents bigint NOT NULL,
    PRIMARY KEY (order_id, sku_id)
);

CREATE TABLE payments (
    order_id     uuid   NOT NULL,
    payment_ref  text   NOT NULL,
    state        text   NOT NULL, -- held, returned or refused; the last two have a RefundDue
    amount_cents bigint NOT NULL,
    currency     text   NOT NULL,
    at           bigint NOT NULL,
    PRIMARY KEY (order_id, payment_ref)
);

-- The hottest rows there are: one update per batch of a sale, and no index that would forbid doing it in place.
CREATE TABLE allotments (
    sku_id    text PRIMARY KEY,
    remaining bigint NOT NULL DEFAULT 0 CHECK (remaining >= 0),
    owed      bigint NOT NULL DEFAULT 0 CHECK (owed >= 0),
    granted   bigint NOT NULL DEFAULT 0,
    revoked   bigint NOT NULL DEFAULT 0,
    CHECK (remaining = 0 OR owed = 0)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Grants and revokes (units below 0) by id, for good: the same one may come again in a year.
CREATE TABLE grants (
    id     text PRIMARY KEY,
    sku_id text   NOT NULL,
    units  bigint NOT NULL
);

CREATE TABLE items (
    sku_id             text PRIMARY KEY,
    name               text    NOT NULL,
    unit_price_cents   bigint  NOT NULL,
    currency           text    NOT NULL,
    per_customer_limit bigint  NOT NULL,
    version            bigint  NOT NULL,
    retired            boolean NOT NULL
);

-- seq grows with every entry of one order, because whoever writes one holds the order's row.
CREATE TABLE timeline (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid   NOT NULL,
    key      text   NOT NULL,
    at       bigint NOT NULL,
    service  text   NOT NULL,
    what     text   NOT NULL,
    by_whom  text   NOT NULL,
    detail   text   NOT NULL,
    UNIQUE (order_id, key)
);

-- +goose Down
DROP TABLE timeline, items, grants, allotments, payments, order_items, orders;
