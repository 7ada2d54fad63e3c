package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// Timeline is all that is known of an order's life, oldest first. That it was created stands in the order itself, so
// that accepting writes no entry.
func (s *Store) Timeline(ctx context.Context, id string) ([]order.Entry, error) {
	o, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	entries, err := s.TimelineSince(ctx, map[string]int64{o.ID: 0})
	if err != nil {
		return nil, err
	}
	entries = append(entries, order.Entry{
		OrderID: o.ID, Key: moveKey(1), At: o.CreatedAt, Service: self, What: string(order.Created), By: o.By,
	})
	slices.SortFunc(entries, func(a, b order.Entry) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return int(a.Seq - b.Seq)
	})
	return entries, nil
}

// TimelineSince is what was added for each order after the Seq given for it, in the order of Seq.
func (s *Store) TimelineSince(ctx context.Context, after map[string]int64) ([]order.Entry, error) {
	var ids []string
	var seqs []int64
	for id, seq := range after {
		if id, ok := canonical(id); ok {
			ids, seqs = append(ids, id), append(seqs, seq)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	v := database.NewValues(database.Col("order_id", "uuid", ids), database.Col("seq", "bigint", seqs))
	rows, err := s.db.QueryValues(ctx, v, `
		SELECT t.order_id, t.key, t.seq, t.at, t.service, t.what, t.by_whom, t.detail
		FROM v JOIN timeline t ON t.order_id = v.order_id AND t.seq > v.seq ORDER BY t.seq`)
	entries, err := database.Collect(rows, err, func(rows *sql.Rows) (e order.Entry, err error) {
		var at int64
		err = rows.Scan(&e.OrderID, &e.Key, &e.Seq, &at, &e.Service, &e.What, &e.By, &e.Detail)
		e.At = moment(at)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the timeline of %d orders: %w", len(ids), err)
	}
	return entries, nil
}

// insertEntriesTx adds entries that are not there yet, in the order given, and answers which those are. The orders' rows
// are locked, so seq grows in the order that one order's entries are committed in.
func insertEntriesTx(ctx context.Context, tx *database.Tx, entries []order.Entry) (map[entryKey]bool, error) {
	fresh := map[entryKey]bool{}
	if len(entries) == 0 {
		return fresh, nil
	}
	v := database.NewValues(
		field("order_id", "uuid", entries, func(e order.Entry) string { return e.OrderID }),
		field("key", "text", entries, func(e order.Entry) string { return e.Key }),
		field("at", "bigint", entries, func(e order.Entry) int64 { return ms(e.At) }),
		field("service", "text", entries, func(e order.Entry) string { return e.Service }),
		field("what", "text", entries, func(e order.Entry) string { return e.What }),
		field("by_whom", "text", entries, func(e order.Entry) string { return e.By }),
		field("detail", "text", entries, func(e order.Entry) string { return e.Detail }))
	rows, err := tx.QueryValues(ctx, v, `INSERT INTO timeline (order_id, key, at, service, what, by_whom, detail)
		SELECT v.order_id, v.key, v.at, v.service, v.what, v.by_whom, v.detail FROM v WHERE true
		ON CONFLICT DO NOTHING RETURNING order_id, key`)
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (k entryKey, err error) {
		err = rows.Scan(&k.order, &k.key)
		fresh[k] = true
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("write %d entries: %w", len(entries), err)
	}
	return fresh, nil
}
