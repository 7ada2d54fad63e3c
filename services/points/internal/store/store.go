// Package store keeps the ledger of points and its sums.
//
// It promises that an order stands in the ledger at most once for each kind of entry, that every new entry is announced
// and no old one is, and that a balance is the sum of its ledger in every snapshot.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/points/internal/points"
)

//go:embed migrations
var files embed.FS

// Migrations are the tables of the ledger.
var Migrations = database.Migrations{Owner: "points", Files: database.Folder(files, "migrations")}

// Fact is one piece of news about an order.
type Fact struct {
	Order points.Order
	News  points.News
}

// entry is one new row of the ledger.
type entry struct {
	order  string
	user   string
	points points.Points
	atMS   int64
}

// ApplyTx puts into the ledger what facts bring about and was not there, moves the balances by it and announces it. It
// says for each fact whether it brought anything about; of several that would, the first did.
//
// Law 6: the ledger's rows are inserted sorted by order, then the balances are touched sorted by user.
func ApplyTx(ctx context.Context, tx *database.Tx, facts []Fact) ([]bool, error) {
	wanted := firsts(facts)
	awarded, err := awardTx(ctx, tx, wanted[points.Award], facts)
	if err != nil {
		return nil, fmt.Errorf("award points: %w", err)
	}
	taken, err := takeBackTx(ctx, tx, wanted[points.TakeBack])
	if err != nil {
		return nil, fmt.Errorf("take points back: %w", err)
	}
	events, err := announce(ctx, tx.Dialect, awarded, taken)
	if err != nil {
		return nil, fmt.Errorf("announce points: %w", err)
	}
	if err := tx.ExecAll(ctx, moveBalances(slices.Concat(awarded, taken)), events); err != nil {
		return nil, err
	}
	changed := make([]bool, len(facts))
	for _, e := range awarded {
		changed[wanted[points.Award][e.order]] = true
	}
	for _, e := range taken {
		changed[wanted[points.TakeBack][e.order]] = true
	}
	return changed, nil
}

// firsts finds, for each kind of entry and each order, the first fact that asks for it.
func firsts(facts []Fact) map[points.Kind]map[string]int {
	found := map[points.Kind]map[string]int{points.Award: {}, points.TakeBack: {}}
	for i, f := range facts {
		for _, kind := range f.News.Entries() {
			if _, asked := found[kind][f.Order.ID]; !asked {
				found[kind][f.Order.ID] = i
			}
		}
	}
	return found
}

func awardTx(ctx context.Context, tx *database.Tx, wanted map[string]int, facts []Fact) ([]entry, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	orders := slices.Sorted(maps.Keys(wanted))
	users, due := make([]string, len(orders)), make([]int64, len(orders))
	for i, id := range orders {
		o := facts[wanted[id]].Order
		users[i], due[i] = o.User, int64(points.For(o.Total))
	}
	v := database.NewValues(
		database.Col("order_id", "uuid", orders), database.Col("user_id", "text", users), database.Col("points", "bigint", due))
	rows, err := tx.QueryValues(ctx, v, `INSERT INTO ledger (order_id, kind, user_id, points, at_ms)
		SELECT v.order_id, 'award', v.user_id, v.points, t.now FROM v, (SELECT `+tx.Dialect.NowMS()+` AS now) t
		WHERE true ORDER BY v.order_id
		ON CONFLICT DO NOTHING RETURNING order_id, user_id, points, at_ms`)
	return database.Collect(rows, err, scan)
}

// takeBackTx takes back what the ledger says was awarded, so that an order's entries sum up to zero whatever the news
// of its refund says about its total.
func takeBackTx(ctx context.Context, tx *database.Tx, wanted map[string]int) ([]entry, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	v := database.NewValues(database.Col("order_id", "uuid", slices.Sorted(maps.Keys(wanted))))
	rows, err := tx.QueryValues(ctx, v, `INSERT INTO ledger (order_id, kind, user_id, points, at_ms)
		SELECT a.order_id, 'take_back', a.user_id, -a.points, `+tx.Dialect.NowMS()+`
		FROM v JOIN ledger a ON a.order_id = v.order_id AND a.kind = 'award' WHERE true ORDER BY a.order_id
		ON CONFLICT DO NOTHING RETURNING order_id, user_id, points, at_ms`)
	return database.Collect(rows, err, scan)
}

func scan(r *sql.Rows) (e entry, err error) {
	err = r.Scan(&e.order, &e.user, &e.points, &e.atMS)
	return e, err
}

func moveBalances(entries []entry) database.Statement {
	sums := map[string]int64{}
	for _, e := range entries {
		sums[e.user] += int64(e.points)
	}
	maps.DeleteFunc(sums, func(_ string, sum int64) bool { return sum == 0 })
	users := slices.Sorted(maps.Keys(sums))
	moves := make([]int64, len(users))
	for i, user := range users {
		moves[i] = sums[user]
	}
	v := database.NewValues(database.Col("user_id", "text", users), database.Col("points", "bigint", moves))
	return database.Write("move balances", v, `INSERT INTO balances (user_id, points)
		SELECT v.user_id, v.points FROM v WHERE true ORDER BY v.user_id
		ON CONFLICT (user_id) DO UPDATE SET points = balances.points + excluded.points`)
}

// Balance is how many points user has.
func Balance(ctx context.Context, db *database.DB, user string) (points.Points, error) {
	var balance points.Points
	err := db.QueryRowContext(ctx, "SELECT points FROM balances WHERE user_id = $1", user).Scan(&balance)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read the balance of %s: %w", user, err)
	}
	return balance, nil
}
