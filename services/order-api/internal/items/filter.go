package items

import (
	"context"
	"sync"

	"github.com/bits-and-blooms/bloom/v3"
)

// filter knows which skus were never listed, so that asking for what does not exist costs nobody anything. It is believed
// only while this process hears of every item that is listed; else everything passes.
type filter struct {
	size uint
	rate float64

	mu       sync.RWMutex
	bits     *bloom.BloomFilter // nil before the first build; guarded by mu
	believed bool               // guarded by mu
	building bool               // guarded by mu
	missed   []string           // listed while a build reads; guarded by mu
	turn     int                // counts what was doubted; guarded by mu
}

// mayHold is false only for skus that were never listed.
func (f *filter) mayHold(sku string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return !f.believed || f.bits.TestString(sku)
}

func (f *filter) add(skus ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.building {
		f.missed = append(f.missed, skus...)
	}
	for _, sku := range skus {
		if f.bits != nil {
			f.bits.AddString(sku)
		}
	}
}

// doubt lets everything pass until the next build: something may have been listed that nobody told.
func (f *filter) doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.believed = false
	f.turn++
}

// build makes the filter anew out of what list says, and believes it if all that was listed meanwhile was heard. One build
// at a time.
func (f *filter) build(ctx context.Context, list func(ctx context.Context) ([]string, error)) error {
	f.mu.Lock()
	turn := f.turn
	f.building, f.missed = true, nil
	f.mu.Unlock()
	skus, err := list(ctx)
	var bits *bloom.BloomFilter
	if err == nil {
		bits = bloom.NewWithEstimates(max(f.size, uint(len(skus))*5/4), f.rate)
		for _, sku := range skus {
			bits.AddString(sku)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.building = false
	if err != nil {
		return err
	}
	for _, sku := range f.missed {
		bits.AddString(sku)
	}
	f.bits, f.believed, f.missed = bits, f.turn == turn, nil
	return nil
}
