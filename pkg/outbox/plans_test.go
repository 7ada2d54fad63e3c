package outbox

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// week fills the outbox with events of some hundred transactions, all of them sent, the oldest ones to be swept.
const week = `
	INSERT INTO outbox (xid, created_at, occurred_at, version, shard, copy, event_id, type, topic, key, value, headers, traceparent, tracestate)
		SELECT (n / 200 + 3)::text::xid8, t.now - (100000 - n) * 7000::bigint, t.now, 1, n % 16, false, 'e-' || n, 'x', 'things', n::text::bytea,
			'\x00112233445566778899', '', '', '' FROM generate_series(1, 100000) n, (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now) t;
	UPDATE outbox_cursors SET done = pg_current_snapshot(), sent = 100000`

// nowhere takes whatever it is sent.
type nowhere struct{}

func (nowhere) Send(context.Context, []Message) error { return nil }

// TestPlansOfAFullOutbox learns how Postgres runs what a relay does all day, on a full outbox.
func TestPlansOfAFullOutbox(t *testing.T) {
	t.Parallel()
	p := servertest.NewPlans(t, "outbox")
	p.Fill([]database.Migrations{Migrations}, week)
	p.Watch()
	const here = "pkg/outbox/"
	p.Path("append events", here+"outbox.go", func(ctx context.Context) error { return appendTo(ctx, p.DB) }, "Insert on outbox")
	p.Path("count what is not sent", here+"postgres.go", func(ctx context.Context) error {
		n, err := Unsent(ctx, p.DB)
		if err == nil && n != 100 {
			return fmt.Errorf("%d events wait, not 100", n)
		}
		return err
	}, "Index Only Scan using outbox_by_commit")
	r := NewRelay(RelayConfig{DB: p.DB, Sender: nowhere{}})
	p.Path("relay what was committed", here+"postgres.go", func(ctx context.Context) error {
		in, err := r.open(ctx)
		if err != nil {
			return err
		}
		defer in.close()
		if err := in.tend(ctx); err != nil {
			return err
		}
		if sent, err := r.round(ctx, in); err != nil || sent != 100 {
			return errors.Join(fmt.Errorf("%d events were sent, not 100", sent), err)
		}
		return nil
	}, "Index Only Scan using outbox_by_commit", "using outbox_pkey", "using outbox_cursors_pkey")
	p.Path("delete old events", here+"sweep.go", func(ctx context.Context) error {
		n, err := sweepOnce(ctx, p.DB, time.Hour)
		if err == nil && n != sweepBatch {
			return fmt.Errorf("%d events were deleted, not %d", n, sweepBatch)
		}
		return err
	}, "using outbox_pkey")
	p.Check("outbox_cursors")
}

func appendTo(ctx context.Context, db *database.DB) error {
	events := make([]Event, 100)
	for i := range events {
		events[i] = Event{ID: fmt.Sprint("new-", i), Topic: "things", Key: fmt.Append(nil, i)}
	}
	return db.Tx(ctx, func(tx *database.Tx) error { return AppendTx(ctx, tx, events...) })
}
