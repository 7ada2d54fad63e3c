package store

const (
	table  = "orders"
	first  = `UPDATE orders SET status = 'cancelled' WHERE expires_at < $1`
	second = "UPDATE orders " + "SET version = version + 1, status = $1"
	third  = `update "orders" set "status" = 'paid'`
	fourth = `INSERT INTO orders (id, status) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET status = excluded.status`
	fifth  = `WITH v AS (SELECT 1) UPDATE orders
		SET reason = $1,
		    status = 'refunded'`
)

func sixth(db interface {
	Update(string, any)
	Updates(any)
}) {
	db.Update("status", "paid")
	db.Updates(map[string]any{"reason": "", "status": "paid"})
}
