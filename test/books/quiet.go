package books

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/proto/event"
)

// consumers says which service keeps whose offsets, and what each group reads.
var consumers = []struct {
	service, group string
	topics         []string
}{
	{"inventory", event.Inventory, []string{event.OrderCreated, event.OrderStatusChanges}},
	{"points", event.Points, []string{event.OrderStatusChanges}},
	{"logistics", event.Logistics, []string{event.OrderStatusChanges}},
	{"order-api", event.OrderAPI, []string{event.StockChanges, event.ShipmentChanges, event.PointsChanges}},
	{"order-api", event.OrderStateCheck, []string{event.OrderStatusChanges}},
	{"dlq-replayer", event.DLQReplayer, []string{kafka.DeadLetters, kafka.RawErrors}},
}

// quiet waits until two looks in a row find nothing to do and the same state.
func quiet(ctx context.Context, s Stores, dbs databases) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last := ""
	why := "nothing was read yet"
	for {
		busy, state, err := look(ctx, s, dbs)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil && busy == "" && state == last:
			return nil
		case err == nil && busy != "":
			why = busy
		case err == nil:
			why = "it keeps changing"
		}
		last = state
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", ErrNotQuiet, why)
		case <-tick.C:
		}
	}
}

// look says what is still to be done, if anything, and a text that changes whenever anything moves.
func look(ctx context.Context, s Stores, dbs databases) (busy, state string, err error) {
	var waits, marks []string
	for _, service := range slices.Sorted(maps.Keys(dbs)) {
		var unsent, parked, newest int64
		err := dbs.snapshot(ctx, service, func(tx *sql.Tx) error {
			var err error
			unsent, parked, newest, err = pending(ctx, tx, isSQLite(dbs[service]))
			return err
		})
		if err != nil {
			return "", "", err
		}
		if unsent > 0 {
			waits = append(waits, fmt.Sprintf("%d events of %s are not sent", unsent, service))
		}
		if parked > 0 {
			waits = append(waits, fmt.Sprintf("%d records of %s are parked", parked, service))
		}
		marks = append(marks, fmt.Sprintf("%s %d", service, newest))
	}
	for _, c := range consumers {
		lag, mark, err := lag(ctx, s, dbs, c.service, c.group, c.topics)
		if err != nil {
			return "", "", err
		}
		if lag > 0 {
			waits = append(waits, fmt.Sprintf("%s has %d records to read", c.group, lag))
		}
		marks = append(marks, mark)
	}
	return strings.Join(waits, ", "), strings.Join(marks, ", "), nil
}

// lag is how many records a group has not settled yet, by its own offsets and the log's ends.
func lag(ctx context.Context, s Stores, dbs databases, service, group string, topics []string) (lag int64, mark string, err error) {
	var stored tally
	if err := dbs.snapshot(ctx, service, func(tx *sql.Tx) error { return stored.offsets(ctx, tx, group) }); err != nil {
		return 0, "", err
	}
	for _, topic := range topics {
		ends, err := Ends(ctx, s.Brokers, s.Prefix+topic)
		if err != nil {
			return 0, "", err
		}
		for partition, end := range ends {
			lag += max(0, end-stored[fmt.Sprint(topic, "/", partition)])
		}
	}
	return lag, fmt.Sprint(group, " ", sum(stored)), nil
}
