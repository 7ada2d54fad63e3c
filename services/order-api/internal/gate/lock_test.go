package gate_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

const lockOfTea = "stock:{tea}:lock"

func setupLock(t *testing.T) bundle {
	t.Helper()
	on := at(redistest.New(t).Addr)
	on.kind = gate.KindLock
	return setup(t, on)
}

// A holder that died keeps others waiting until its lease ends, and no order is refused for that.
func TestALockWhoseHolderDied(t *testing.T) {
	t.Parallel()
	b := setupLock(t)
	if err := b.redis.Set(t.Context(), lockOfTea, "of one who died", 200*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	if b.Take(t.Context(), "a", lines("tea", 4)).Refused() {
		t.Error("refused")
	}
	b.want(t, "tea", 6)
	if err := b.redis.Set(t.Context(), lockOfTea, "of one who just died", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if b.Take(t.Context(), "b", lines("tea", 4)).Refused() {
		t.Error("refused because of a lock, not because too little is left")
	}
	b.want(t, "tea", 6)
}

// meddler does something before the gate writes what it took.
type meddler func()

func (m meddler) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (m meddler) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (m meddler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		m()
		return next(ctx, cmds)
	}
}

// A holder that outlives its lease ends its own lock only: the next one's stands. What both took is lowered twice at most,
// and below zero the counter is loaded anew.
func TestAHolderThatOutlivesItsLease(t *testing.T) {
	t.Parallel()
	b := setupLock(t)
	b.Take(t.Context(), "loads the counter", lines("tea", 1))
	aside := b.redis.(*redis.Client).WithTimeout(time.Second) // has no hooks of those added from here on
	b.redis.AddHook(meddler(func() {
		if err := aside.Set(t.Context(), lockOfTea, "of the next", time.Minute).Err(); err != nil {
			t.Error(err)
		}
		if err := aside.DecrBy(t.Context(), "stock:{tea}", 5).Err(); err != nil { // what the next takes
			t.Error(err)
		}
	}))
	if b.Take(t.Context(), "slow", lines("tea", 5)).Refused() {
		t.Error("refused")
	}
	if holder := aside.Get(t.Context(), lockOfTea).Val(); holder != "of the next" {
		t.Errorf("the lock is %q: a holder ended the lock of the next", holder)
	}
	b.want(t, "tea", -1)
	aside.Del(t.Context(), lockOfTea)
	b.shelf.set("tea", 3) // the truth sold what was there, once
	other := bundle{kind: b.kind, cfg: b.cfg, redis: aside, shelf: b.shelf}
	other.Counters = another(t, other)
	if other.Take(t.Context(), "after", lines("tea", 3)).Refused() {
		t.Error("a counter below zero refuses what there is")
	}
	b.want(t, "tea", 0)
}
