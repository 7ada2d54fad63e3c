package shield

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	sentinel "github.com/alibaba/sentinel-golang/api"
)

// Skus stands in front of order lines. Where no rule speaks of skus, it costs one look.
type Skus struct {
	resource string
	counts   counts
	limited  atomic.Pointer[limited] // nil: no rule speaks of skus
}

// limited is of which skus the rules speak.
type limited struct {
	named map[string]int64
	rest  *int64 // of every other
}

// Enter lets one order line of sku in, or says why not: the error is a *Blocked.
func (s *Skus) Enter(ctx context.Context, sku string) error {
	l := s.limited.Load()
	if l == nil {
		return nil
	}
	if _, named := l.named[sku]; !named && l.rest == nil {
		return nil
	}
	entry, block := sentinel.Entry(s.resource, skuChain, sentinel.WithArgs(sku))
	if block != nil {
		b := &Blocked{Resource: CreateOrder, Sku: sku, Flow: true, After: time.Second}
		s.counts.blocked(ctx, b)
		return b
	}
	entry.Exit()
	return nil
}

// load puts these rules in force, and nothing else.
func (s *Skus) load(flows []Flow) error {
	l := limited{named: map[string]int64{}}
	for _, f := range flows {
		switch f.Sku {
		case "":
		case EverySku:
			l.rest = f.PerSecond
		default:
			l.named[f.Sku] = *f.PerSecond
		}
	}
	if err := loadSkus(s.resource, l.named, l.rest); err != nil {
		return fmt.Errorf("flow of skus: %w", err)
	}
	if len(l.named) == 0 && l.rest == nil {
		s.limited.Store(nil)
		return nil
	}
	s.limited.Store(&l)
	s.counts.begin(CreateOrder, bySku)
	return nil
}
