package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// acceptRuns bounds how often a batch runs again because another replica bound one of its keys meanwhile.
const acceptRuns = 5

// Accept sells to drafts in their order, in one transaction: one verdict each. An error settles none of them; after
// database.ErrUnknownOutcome ask Settle. The same drafts may be handed in again.
func (s *Store) Accept(ctx context.Context, drafts []order.Draft) (verdicts []order.Verdict, err error) {
	for range acceptRuns {
		err = s.db.Pipeline(ctx, func(p *database.Pipeline) error {
			if verdicts, err = s.accept(ctx, p, drafts); err != nil {
				return err
			}
			return s.dawdle(ctx)
		})
		// A key that was bound between the look and the insert is there to be seen by the next run.
		if _, bound := database.UniqueViolation(err); !bound {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("accept %d orders: %w", len(drafts), err)
	}
	return verdicts, nil
}

// accept is the law of one order: lock what can be sold, then look, decide, and write orders, items, payments, events
// and what is left together. Nothing is sold by looking: whoever comes second finds the row locked.
func (s *Store) accept(ctx context.Context, p *database.Pipeline, drafts []order.Draft) ([]order.Verdict, error) {
	state, err := stateOf(ctx, p, p.Dialect, drafts)
	if err != nil {
		return nil, err
	}
	verdicts := order.Decide(state, drafts)
	sold := winners(verdicts, drafts)
	if len(sold) == 0 {
		return verdicts, nil
	}
	events, err := announceCreated(ctx, p.Dialect, sold)
	if err != nil {
		return nil, err
	}
	p.Write(insertOrders(sold), insertItems(sold), insertCaptured(sold), takeUnits(sold), events)
	return verdicts, nil
}

// sale is a draft that became an order; it is the verdict's own.
type sale struct {
	*order.Order
	key, fingerprint string
}

// heldRef is the payment that the order has from its first moment.
func (w sale) heldRef() string {
	if w.Payment == order.Captured {
		return order.CapturedRef
	}
	return ""
}

func winners(verdicts []order.Verdict, drafts []order.Draft) []sale {
	var sold []sale
	for i := range verdicts {
		if v := &verdicts[i]; v.Accepted() {
			sold = append(sold, sale{&v.Order, drafts[i].Key, drafts[i].Fingerprint})
		}
	}
	return sold
}

// stateOf locks the allotments of all drafts in sku order, and only then looks at keys and customers' shares, so that it
// sees what those committed who held the rows before. The look travels with the lock: the server takes them one by one.
func stateOf(ctx context.Context, q asker, d database.Dialect, drafts []order.Draft) (order.State, error) {
	state := newState()
	var bound []orderRow
	if err := q.Ask(ctx, lockShelves(d, state, skusOf(drafts)), rowsOfKeys(d, drafts, &bound)); err != nil {
		return order.State{}, err
	}
	known, err := knownOf(ctx, q, bound)
	if err != nil {
		return order.State{}, err
	}
	for claim, k := range known {
		state.Keys[claim] = k
	}
	return *state, q.Ask(ctx, countHeld(state, drafts))
}

func newState() *order.State {
	return &order.State{Shelves: map[string]*order.Shelf{}, Keys: map[order.Claim]order.Known{}, Held: map[order.Holder]int64{}}
}

func skusOf(drafts []order.Draft) []string {
	skus := map[string]bool{}
	for _, d := range drafts {
		for _, l := range d.Lines {
			skus[l.SkuID] = true
		}
	}
	return slices.Sorted(maps.Keys(skus))
}

// lockShelves locks the allotments of skus, in the database's order, together with what the catalogue says of them.
//
// Postgres looks each row up by its key as the list names it, whatever it thinks of the table's size: the plan is kept.
func lockShelves(d database.Dialect, state *order.State, skus []string) database.Question {
	const shelf = `SELECT a.sku_id, a.remaining, COALESCE(i.unit_price_cents, 0), COALESCE(i.currency, ''),
			COALESCE(i.per_customer_limit, 0), COALESCE(i.version, 0), COALESCE(i.retired, false), `
	query := shelf + d.NowMS() + `
		FROM (SELECT v.sku_id FROM v ORDER BY v.sku_id) v
		CROSS JOIN LATERAL (SELECT * FROM allotments a WHERE a.sku_id = v.sku_id FOR UPDATE) a
		LEFT JOIN LATERAL (SELECT * FROM items i WHERE i.sku_id = v.sku_id OFFSET 0) i ON true`
	if d == database.SQLite {
		query = shelf + d.NowMS() + `
			FROM v JOIN allotments a ON a.sku_id = v.sku_id LEFT JOIN items i ON i.sku_id = a.sku_id`
	}
	return database.Ask("lock allotments", database.NewValues(database.Col("sku_id", "text", skus)), query, func(row database.Row) error {
		var shelf order.Shelf
		var now int64
		err := row.Scan(&shelf.SkuID, &shelf.Remaining, &shelf.UnitPriceCents, &shelf.Currency,
			&shelf.PerCustomerLimit, &shelf.Version, &shelf.Retired, &now)
		state.Now = moment(now)
		state.Shelves[shelf.SkuID] = &shelf
		return err
	})
}

// countHeld counts what the drafts' customers hold of limited items. Orders whose units went back do not count.
func countHeld(state *order.State, drafts []order.Draft) database.Question {
	asked := map[order.Holder]bool{}
	var users, skus []string
	for _, d := range drafts {
		for _, l := range d.Lines {
			h := order.Holder{UserID: d.UserID, SkuID: l.SkuID}
			if shelf := state.Shelves[l.SkuID]; shelf != nil && shelf.PerCustomerLimit > 0 && !asked[h] {
				asked[h] = true
				users, skus = append(users, h.UserID), append(skus, h.SkuID)
			}
		}
	}
	v := database.NewValues(database.Col("user_id", "text", users), database.Col("sku_id", "text", skus))
	return database.Ask("count customers' units", v, `
		SELECT v.user_id, v.sku_id, CAST(SUM(i.quantity) AS bigint) FROM v
		JOIN orders o ON o.user_id = v.user_id AND o.live
		JOIN order_items i ON i.order_id = o.id AND i.sku_id = v.sku_id
		GROUP BY v.user_id, v.sku_id`, func(row database.Row) error {
		var h order.Holder
		var units int64
		err := row.Scan(&h.UserID, &h.SkuID, &units)
		state.Held[h] = units
		return err
	})
}

// insertOrders writes the orders sorted by their keys, so that two batches that hold the same keys do not wait for
// each other crosswise.
func insertOrders(sold []sale) database.Statement {
	sold = slices.Clone(sold)
	slices.SortStableFunc(sold, func(a, b sale) int {
		return cmp.Or(strings.Compare(a.UserID, b.UserID), strings.Compare(a.key, b.key))
	})
	v := database.NewValues(
		field("id", "uuid", sold, func(w sale) string { return w.ID }),
		field("user_id", "text", sold, func(w sale) string { return w.UserID }),
		field("status", "text", sold, func(w sale) string { return string(w.Status) }),
		field("payment", "text", sold, func(w sale) string { return string(w.Payment) }),
		field("held_ref", "text", sold, sale.heldRef),
		field("total_cents", "bigint", sold, func(w sale) int64 { return int64(w.TotalCents) }),
		field("currency", "text", sold, func(w sale) string { return w.Currency }),
		field("reference", "text", sold, func(w sale) string { return w.Reference }),
		field("metadata", "text", sold, func(w sale) string { return metadata(w.Metadata) }),
		field("created_at", "bigint", sold, func(w sale) int64 { return ms(w.CreatedAt) }),
		field("expires_at", "bigint", sold, func(w sale) int64 { return ms(w.ExpiresAt) }),
		field("placed_by", "text", sold, func(w sale) string { return w.By }),
		field("idem_key", "text", sold, func(w sale) string { return w.key }),
		field("fingerprint", "text", sold, func(w sale) string { return w.fingerprint }))
	return database.Write("insert orders", v, `INSERT INTO orders (id, user_id, status, payment, held_ref, total_cents, currency,
			reference, metadata, version, created_at, updated_at, expires_at, due_at, placed_by, idem_key, fingerprint)
		SELECT v.id, v.user_id, v.status, v.payment, v.held_ref, v.total_cents, v.currency, v.reference, v.metadata, 1,
			v.created_at, v.created_at, v.expires_at, NULLIF(v.expires_at, 0), v.placed_by, NULLIF(v.idem_key, ''), v.fingerprint
		FROM v`)
}

func insertItems(sold []sale) database.Statement {
	var ids, skus []string
	var quantities, prices []int64
	for _, w := range sold {
		for _, i := range w.Items {
			ids, skus = append(ids, w.ID), append(skus, i.SkuID)
			quantities, prices = append(quantities, i.Quantity), append(prices, int64(i.UnitPriceCents))
		}
	}
	v := database.NewValues(database.Col("order_id", "uuid", ids), database.Col("sku_id", "text", skus),
		database.Col("quantity", "bigint", quantities), database.Col("unit_price_cents", "bigint", prices))
	return database.Write("insert items", v, `INSERT INTO order_items (order_id, sku_id, quantity, unit_price_cents)
		SELECT v.order_id, v.sku_id, v.quantity, v.unit_price_cents FROM v`)
}

// insertCaptured notes the money that was in before the order was.
func insertCaptured(sold []sale) database.Statement {
	var noted []payment
	for _, w := range sold {
		if ref := w.heldRef(); ref != "" {
			noted = append(noted, payment{of: w.Order, ref: ref, state: order.Held, at: w.CreatedAt})
		}
	}
	return insertPayments(noted)
}

func takeUnits(sold []sale) database.Statement {
	taken := map[string]int64{}
	for _, w := range sold {
		for _, i := range w.Items {
			taken[i.SkuID] += i.Quantity
		}
	}
	var skus []string
	var units []int64
	for sku, n := range taken {
		skus, units = append(skus, sku), append(units, n)
	}
	v := database.NewValues(database.Col("sku_id", "text", skus), database.Col("units", "bigint", units))
	return database.Write("take units", v, `UPDATE allotments SET remaining = allotments.remaining - v.units
		FROM v WHERE allotments.sku_id = v.sku_id`)
}

func announceCreated(ctx context.Context, d database.Dialect, sold []sale) (database.Statement, error) {
	events := make([]outbox.Event, len(sold))
	for i, w := range sold {
		e, err := created(*w.Order)
		if err != nil {
			return database.Statement{}, err
		}
		events[i] = e
	}
	return outbox.Append(ctx, d, events...)
}
