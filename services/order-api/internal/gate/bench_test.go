package gate_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gate"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/redistest"
)

// BenchmarkTake has 64 buyers take from one hot counter: by the script, under a lock, and by compare-and-set on the value,
// which is here only (see docs/adr/0015-units-are-taken-by-a-script.md).
//
//	go test -run '^$' -bench Take ./internal/gate
func BenchmarkTake(b *testing.B) {
	for _, kind := range []string{gate.KindLua, gate.KindLock, "compare-and-set", "memory"} {
		for _, skus := range []int{1, 3} {
			b.Run(fmt.Sprintf("%s/lines=%d", kind, skus), func(b *testing.B) {
				on := at(redistest.New(b).Addr)
				on.kind = kind
				s := setup(b, on)
				s.shelf.units = map[string]int64{}
				var want []order.Line
				for i := range skus {
					sku := fmt.Sprint("sku ", i)
					s.shelf.units[sku] = 1 << 40
					want = append(want, order.Line{SkuID: sku, Quantity: 1})
				}
				s.Take(b.Context(), "the first", want)
				for _, line := range want {
					s.redis.SetNX(b.Context(), "stock:{"+line.SkuID+"}", 1<<40, 0) // where no gate set it
				}
				memory := gate.NewSoldOut()
				memory.Note(memory.Turn(), map[string]int64{want[skus-1].SkuID: 0})
				var n, tries atomic.Int64
				b.ReportAllocs()
				b.SetParallelism(32)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						switch kind {
						case "compare-and-set":
							for _, line := range want {
								tries.Add(compareAndSet(b, s.redis, "stock:{"+line.SkuID+"}", line.Quantity))
							}
						case "memory":
							memory.Short(want)
						default:
							if s.Take(b.Context(), fmt.Sprint("order ", n.Add(1)), want).Refused() {
								b.Error("refused")
							}
						}
					}
				})
				if kind == "compare-and-set" {
					b.ReportMetric(float64(tries.Load())/float64(b.N*skus), "tries/line")
				}
			})
		}
	}
}

// compareAndSet lowers a counter as optimists do: read it, and write only if nobody wrote meanwhile; else again.
func compareAndSet(b *testing.B, client redis.UniversalClient, key string, units int64) (tries int64) {
	for {
		tries++
		err := client.Watch(b.Context(), func(tx *redis.Tx) error {
			left, err := tx.Get(b.Context(), key).Int64()
			if err != nil {
				return err
			}
			_, err = tx.TxPipelined(b.Context(), func(p redis.Pipeliner) error {
				return p.Set(context.WithoutCancel(b.Context()), key, left-units, 0).Err()
			})
			return err
		}, key)
		if err == nil {
			return tries
		}
		if !errors.Is(err, redis.TxFailedErr) {
			b.Error(err)
			return tries
		}
	}
}
