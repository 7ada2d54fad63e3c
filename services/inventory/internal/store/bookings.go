package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
)

// Fact is one piece of news about an order. Lines are those of stock.Lines; news of an end needs none.
type Fact struct {
	Order string
	News  stock.News
	Lines []stock.Line
}

// move is one step of one order's booking.
type move struct {
	order string
	step  stock.Step
	lines []stock.Line // of the order
}

// ApplyTx lets bookings hear facts in the order given, moves the units and announces it. It says for each fact whether
// it moved its booking. An order that was not heard of and names an item that was never listed fails with
// ErrUnknownItem.
func ApplyTx(ctx context.Context, tx *database.Tx, facts []Fact) ([]bool, error) {
	if len(facts) == 0 {
		return nil, nil
	}
	states, fresh, err := lockBookingsTx(ctx, tx, facts)
	if err != nil {
		return nil, fmt.Errorf("lock bookings: %w", err)
	}
	moves, changed := hear(states, facts)
	if err := recallLinesTx(ctx, tx, moves, fresh); err != nil {
		return nil, fmt.Errorf("recall the lines of orders: %w", err)
	}
	levels, nowMS, err := lockStockTx(ctx, tx, moves)
	if err != nil {
		return nil, fmt.Errorf("lock stock: %w", err)
	}
	events, err := announceBookings(ctx, tx.Dialect, moves, nowMS)
	if err != nil {
		return nil, err
	}
	return changed, tx.ExecAll(ctx, levels, noteMovements(moves, nowMS), moveBookings(moves, fresh), events)
}

// lockBookingsTx makes the bookings of orders that were not heard of, in the state in which facts will leave them, and
// locks those of the others. It returns the state of each order before facts, and the orders that are fresh.
//
// Inserting first settles who is first: a second transaction with the same order waits here, before it holds any row
// that comes later in the order of locks.
func lockBookingsTx(ctx context.Context, tx *database.Tx, facts []Fact) (states map[string]stock.State, fresh map[string]bool, err error) {
	last := map[string]stock.State{}
	for _, f := range facts {
		state := last[f.Order]
		for _, step := range state.Hear(f.News) {
			state = step.To
		}
		last[f.Order] = state
	}
	orders := slices.Sorted(maps.Keys(last))
	rows, err := tx.QueryValues(ctx, bookingValues(orders, last), `INSERT INTO bookings (order_id, state)
		SELECT v.order_id, v.state FROM v WHERE true ORDER BY v.order_id ON CONFLICT DO NOTHING RETURNING order_id`)
	made, err := database.Collect(rows, err, func(r *sql.Rows) (order string, err error) {
		err = r.Scan(&order)
		return order, err
	})
	if err != nil {
		return nil, nil, err
	}
	states, fresh = map[string]stock.State{}, map[string]bool{}
	for _, order := range made {
		states[order], fresh[order] = stock.None, true
	}
	known := slices.DeleteFunc(orders, func(order string) bool { return fresh[order] })
	if len(known) == 0 {
		return states, fresh, nil
	}
	type booking struct {
		order string
		state stock.State
	}
	rows, err = tx.QueryValues(ctx, database.NewValues(database.Col("order_id", "uuid", known)),
		`SELECT b.order_id, b.state FROM bookings b JOIN v ON v.order_id = b.order_id ORDER BY b.order_id`+tx.Dialect.ForUpdate())
	found, err := database.Collect(rows, err, func(r *sql.Rows) (b booking, err error) {
		err = r.Scan(&b.order, &b.state)
		return b, err
	})
	for _, b := range found {
		states[b.order] = b.state
	}
	return states, fresh, err
}

func bookingValues(orders []string, states map[string]stock.State) database.Values {
	to := make([]string, len(orders))
	for i, order := range orders {
		to[i] = string(states[order])
	}
	return database.NewValues(database.Col("order_id", "uuid", orders), database.Col("state", "text", to))
}

// hear lets each booking hear its news and lists the moves of units that follow, in the order of facts. states is moved
// along. An order that ended before it was booked leaves its row and moves nothing.
func hear(states map[string]stock.State, facts []Fact) (moves []move, changed []bool) {
	changed = make([]bool, len(facts))
	for i, f := range facts {
		for _, step := range states[f.Order].Hear(f.News) {
			states[f.Order], changed[i] = step.To, true
			if step.MovesUnits() {
				moves = append(moves, move{order: f.Order, step: step, lines: f.Lines})
			}
		}
	}
	return moves, changed
}

// recallLinesTx gives every move the lines that its order was booked with, whatever later news says they were.
func recallLinesTx(ctx context.Context, tx *database.Tx, moves []move, fresh map[string]bool) error {
	booked, earlier := map[string][]stock.Line{}, map[string]bool{}
	for _, m := range moves {
		switch {
		case !fresh[m.order]:
			earlier[m.order] = true
		case m.step.To == stock.Booked:
			booked[m.order] = m.lines
		}
	}
	if len(earlier) > 0 {
		v := database.NewValues(database.Col("order_id", "uuid", slices.Sorted(maps.Keys(earlier))))
		rows, err := tx.QueryValues(ctx, v, `SELECT m.order_id, m.sku, m.units
			FROM movements m JOIN v ON v.order_id = m.order_id WHERE m.kind = 'booked' ORDER BY m.order_id, m.sku`)
		_, err = database.Collect(rows, err, func(r *sql.Rows) (l stock.Line, err error) {
			var order string
			err = r.Scan(&order, &l.SKU, &l.Units)
			booked[order] = append(booked[order], l)
			return l, err
		})
		if err != nil {
			return err
		}
	}
	for i := range moves {
		moves[i].lines = booked[moves[i].order]
	}
	return nil
}

// lockStockTx locks the stock of every item that moves touch. It returns what moves it by their sum, and the database's time.
func lockStockTx(ctx context.Context, tx *database.Tx, moves []move) (levels database.Statement, nowMS int64, err error) {
	effects := map[string]stock.Levels{}
	for _, m := range moves {
		for _, l := range m.lines {
			effects[l.SKU] = effects[l.SKU].Plus(m.step.Effect(l.Units))
		}
	}
	skus := slices.Sorted(maps.Keys(effects))
	levels = database.Write("move stock", levelValues(skus, effects), `UPDATE stock SET on_hand = on_hand + v.d_on_hand,
		granted_unsold = granted_unsold + v.d_unsold, booked = booked + v.d_booked FROM v WHERE stock.sku = v.sku`)
	if len(skus) == 0 {
		return levels, 0, nil
	}
	rows, err := tx.QueryValues(ctx, database.NewValues(database.Col("sku", "text", skus)),
		"SELECT s.sku, "+tx.Dialect.NowMS()+" FROM stock s JOIN v ON v.sku = s.sku ORDER BY s.sku"+tx.Dialect.ForUpdate())
	found, err := database.Collect(rows, err, func(r *sql.Rows) (sku string, err error) {
		err = r.Scan(&sku, &nowMS)
		return sku, err
	})
	if err != nil {
		return levels, 0, err
	}
	if len(found) < len(skus) {
		unknown := slices.DeleteFunc(skus, func(sku string) bool { return slices.Contains(found, sku) })
		return levels, 0, fmt.Errorf("%w: %s", ErrUnknownItem, strings.Join(unknown, ", "))
	}
	return levels, nowMS, nil
}

func levelValues(skus []string, effects map[string]stock.Levels) database.Values {
	onHand, unsold, booked := make([]int64, len(skus)), make([]int64, len(skus)), make([]int64, len(skus))
	for i, sku := range skus {
		d := effects[sku]
		onHand[i], unsold[i], booked[i] = int64(d.OnHand), int64(d.GrantedUnsold), int64(d.Booked)
	}
	return database.NewValues(database.Col("sku", "text", skus), database.Col("d_on_hand", "bigint", onHand),
		database.Col("d_unsold", "bigint", unsold), database.Col("d_booked", "bigint", booked))
}

// noteMovements appends moves to the ledger.
func noteMovements(moves []move, nowMS int64) database.Statement {
	var orders, kinds, skus []string
	var units []int64
	for _, m := range moves {
		for _, l := range m.lines {
			orders, kinds = append(orders, m.order), append(kinds, string(m.step.To))
			skus, units = append(skus, l.SKU), append(units, int64(l.Units))
		}
	}
	v := database.NewValues(database.Col("order_id", "uuid", orders), database.Col("kind", "text", kinds),
		database.Col("sku", "text", skus), database.Col("units", "bigint", units))
	return database.Write("note movements", v, `INSERT INTO movements (order_id, kind, sku, units, at_ms)
		SELECT v.order_id, v.kind, v.sku, v.units, $1 FROM v`, nowMS)
}

// moveBookings writes where the bookings stand that were there before; the fresh ones stand there already.
func moveBookings(moves []move, fresh map[string]bool) database.Statement {
	states := map[string]stock.State{}
	for _, m := range moves {
		if !fresh[m.order] {
			states[m.order] = m.step.To
		}
	}
	return database.Write("move bookings", bookingValues(slices.Sorted(maps.Keys(states)), states),
		"UPDATE bookings SET state = v.state FROM v WHERE bookings.order_id = v.order_id")
}
