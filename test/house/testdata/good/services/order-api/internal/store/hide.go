package store

import (
	_ "gorm.io/gorm"
)

const (
	hide   = `UPDATE orders SET deleted_at = $1 WHERE id = $2 AND status IN ('cancelled', 'refunded')`
	create = `INSERT INTO orders (id, status) VALUES ($1, 'created') ON CONFLICT DO NOTHING`
	parcel = `UPDATE shipments SET status = 'shipped' WHERE order_id IN (SELECT id FROM orders)`
)
