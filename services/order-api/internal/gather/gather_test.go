package gather_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/floodgate-dev/floodgate/services/order-api/internal/gather"
)

func TestLoad(t *testing.T) {
	t.Parallel()

	t.Run("OneKeyIsAskedForOnceAndManyTogether", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var asked [][]string
			l := gather.New(3, time.Minute, func(_ context.Context, keys []string) (map[string]string, error) {
				asked = append(asked, keys)
				<-time.After(time.Second)
				answers := map[string]string{}
				for _, key := range keys {
					if key != "none" {
						answers[key] = "the " + key
					}
				}
				return answers, nil
			})
			var wg sync.WaitGroup
			want := func(key string, times int) {
				for range times {
					wg.Go(func() {
						v, found, err := l.Load(t.Context(), key)
						if err != nil || found != (key != "none") || found && v != "the "+key {
							t.Errorf("%s: %q, %v, %v", key, v, found, err)
						}
					})
				}
				synctest.Wait()
			}
			want("tea", 100) // one question
			want("tea", 100) // shares it
			for i := range 6 {
				want(fmt.Sprint("mug ", i), 10)
			}
			want("none", 1)
			wg.Wait()
			sizes := []int{}
			for _, keys := range asked {
				sizes = append(sizes, len(keys))
			}
			if got := fmt.Sprint(sizes); got != "[1 3 3 1]" {
				t.Errorf("questions of %s keys", got)
			}
		})
	})

	t.Run("WhoLeavesHearsSoAndAnErrorIsForAll", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			odd := errors.New("odd")
			l := gather.New(10, time.Second, func(ctx context.Context, _ []string) (map[string]int, error) {
				<-ctx.Done() // it is bounded
				return nil, odd
			})
			leaving, leave := context.WithTimeout(t.Context(), time.Millisecond)
			defer leave()
			if _, _, err := l.Load(leaving, "tea"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who left heard %v", err)
			}
			if _, _, err := l.Load(t.Context(), "tea"); !errors.Is(err, odd) {
				t.Errorf("who stayed heard %v", err)
			}
		})
	})
}

// An answer is for those who asked before it came. One that was given may be out of date, also while others are still asked.
func TestWhoComesLaterAsksAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		l := gather.New(1, time.Minute, func(_ context.Context, keys []string) (map[string]int, error) {
			<-time.After(time.Second)
			asked++
			return map[string]int{keys[0]: asked}, nil
		})
		first := make(chan string, 3)
		load := func(key string) int {
			n, found, err := l.Load(t.Context(), key)
			if !found || err != nil {
				t.Errorf("%s: %v, %v", key, found, err)
			}
			return n
		}
		go load("first of all")
		synctest.Wait()
		for _, key := range []string{"tea", "mug", "vase"} { // asked for one after the other, in whatever order
			go func() { load(key); first <- key }()
		}
		if n := load(<-first); n != 5 {
			t.Errorf("heard answer %d, want the fifth: the others were asked for before", n)
		}
	})
}
