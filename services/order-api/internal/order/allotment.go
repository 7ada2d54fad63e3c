package order

// Allotment is what inventory lets this database sell of one sku. Remaining and Owed are never both above zero.
type Allotment struct {
	SkuID     string
	Remaining int64
	Owed      int64 // units that were revoked after they had been sold
	Granted   int64 // all units ever granted
	Revoked   int64 // all units ever revoked
}

// Return adds units; what is owed is paid before anything can be sold again.
func (a *Allotment) Return(units int64) {
	paid := min(units, a.Owed)
	a.Owed -= paid
	a.Remaining += units - paid
}

// Grant adds units that inventory granted.
func (a *Allotment) Grant(units int64) {
	a.Granted += units
	a.Return(units)
}

// Revoke takes units away, also those that were sold already. Grants, revokes and returns commute: only the sum of what
// came and went decides, never its order.
func (a *Allotment) Revoke(units int64) {
	a.Revoked += units
	taken := min(units, a.Remaining)
	a.Remaining -= taken
	a.Owed += units - taken
}
