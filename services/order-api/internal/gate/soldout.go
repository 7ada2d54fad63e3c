package gate

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redisdb"
)

const (
	// recall is how long a refusal is remembered at most. Units that come back are sold within this time on a replica that
	// nobody told.
	recall = time.Second
	// recalled is of how many skus something is remembered.
	recalled = 100_000
)

// SoldOut remembers in this process of which skus there is too little, so that refusing a crowd costs no round trip. It
// remembers refusals only, never sales: what it lets through is decided elsewhere. Forgetting costs one question too many;
// remembering too long would leave units unsold, so it is told of units that come back, and forgets by itself.
type SoldOut struct {
	known *otter.Cache[string, shortage]

	mu   sync.Mutex    // one writer
	turn atomic.Uint64 // counts what was forgotten
}

// shortage is how many units there were when an order for more was refused.
type shortage struct {
	left  int64
	until time.Time
}

// NewSoldOut remembers nothing yet.
func NewSoldOut() *SoldOut {
	return &SoldOut{known: otter.Must(&otter.Options[string, shortage]{MaximumSize: recalled})}
}

// Turn names this moment for Note: ask for it before asking for units.
func (m *SoldOut) Turn() uint64 { return m.turn.Load() }

// Short says of which of the lines it remembers too little, and how much there is; nil for none.
func (m *SoldOut) Short(lines []order.Line) map[string]int64 {
	var left map[string]int64
	for _, line := range lines {
		s, known := m.known.GetIfPresent(line.SkuID)
		if known && line.Quantity > s.left && time.Now().Before(s.until) {
			if left == nil {
				left = map[string]int64{}
			}
			left[line.SkuID] = s.left
		}
	}
	return left
}

// Note remembers what is left of skus, as a refusal said it that was asked for after turn. A word of units that came back
// since then wins: the refusal may be older.
func (m *SoldOut) Note(turn uint64, left map[string]int64) {
	if len(left) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.turn.Load() != turn {
		return
	}
	until := time.Now().Add(recall)
	for sku, units := range left {
		m.known.Set(sku, shortage{units, until})
	}
}

// Forget is told of skus that may have units again.
func (m *SoldOut) Forget(skus ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn.Add(1)
	for _, sku := range skus {
		m.known.Invalidate(sku)
	}
}

func (m *SoldOut) forgetAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn.Add(1)
	m.known.InvalidateAll()
}

// Listen forgets what other replicas say has units again, until ctx ends; nil then. A replica that could not listen for a
// while forgets everything.
func (m *SoldOut) Listen(ctx context.Context, client redis.UniversalClient, log *slog.Logger) error {
	redisdb.Listen(ctx, client, channel, redisdb.Listener{
		Connected: m.forgetAll,
		Lost: func(err error) {
			log.DebugContext(ctx, "nobody tells of units that come back: refusals are forgotten within a second", "error", err)
		},
		Heard: func(sku string) { m.Forget(sku) },
	})
	return nil
}
