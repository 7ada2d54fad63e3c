package run

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errPart = errors.New("no more")

// diary notes what happens in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// part works until it is told to stop, takes a second to do so, and then returns err.
func (d *diary) part(name string, err error) (string, func(context.Context) error) {
	return name, func(ctx context.Context) error {
		<-ctx.Done()
		d.note("%s told", name)
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		d.note("%s ended", name)
		return err
	}
}

var threeStopped = []string{"c told", "c ended", "b told", "b ended", "a told", "a ended"}

func TestGroup(t *testing.T) {
	t.Parallel()
	t.Run("StopsInReverseOrderEachAfterThoseItServes", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			g, d := NewGroup(ctx), &diary{}
			g.Start(d.part("a", nil))
			g.Start(d.part("b", nil))
			g.Start(d.part("c", context.Canceled))
			cancel()
			if err := g.Wait(); err != nil || !slices.Equal(d.lines, threeStopped) {
				t.Errorf("err %v, happened %q", err, d.lines)
			}
		})
	})
	t.Run("TheFirstErrorEndsAll", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g, d := NewGroup(t.Context()), &diary{}
			g.Start(d.part("a", errors.New("later")))
			g.Start("bad", func(context.Context) error { return errPart })
			g.Start(d.part("c", nil))
			err := g.Wait()
			if !errors.Is(err, errPart) || err.Error() != "bad: no more" {
				t.Errorf("err = %v, want the first, with the part's name", err)
			}
			if want := []string{"c told", "c ended", "a told", "a ended"}; !slices.Equal(d.lines, want) {
				t.Errorf("happened %q", d.lines)
			}
		})
	})
	t.Run("APartStartsOthersWhichStopBeforeIt", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			g, d := NewGroup(ctx), &diary{}
			g.Start(d.part("a", nil))
			g.Start("waits", func(context.Context) error {
				time.Sleep(time.Minute) //nolint:forbidigo // virtual time
				g.Start(d.part("b", nil))
				g.Start(d.part("c", nil))
				return nil
			})
			time.AfterFunc(time.Hour, cancel)
			if err := g.Wait(); err != nil || !slices.Equal(d.lines, threeStopped) {
				t.Errorf("err %v, happened %q", err, d.lines)
			}
		})
	})
	t.Run("APartThatIsDoneEndsNobody", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			g, began := NewGroup(ctx), time.Now()
			g.Start("once", func(context.Context) error { return nil })
			g.Start((&diary{}).part("a", nil))
			if err := g.Wait(); err != nil || time.Since(began) < time.Hour {
				t.Errorf("err %v after %s, want nil after the hour", err, time.Since(began))
			}
		})
	})
	t.Run("EndsWhenAllAreDone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := NewGroup(t.Context())
			g.Start("starter", func(context.Context) error {
				g.Start("started", func(context.Context) error { time.Sleep(time.Minute); return nil }) //nolint:forbidigo // virtual time
				return nil
			})
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("CanceledByItselfIsAnError", func(t *testing.T) {
		t.Parallel()
		g := NewGroup(t.Context())
		g.Start("a", func(context.Context) error { return context.Canceled })
		if err := g.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v: nobody had told it to stop", err)
		}
	})
	t.Run("StoppingIsKnownBeforeOnesTurn", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			g, d := NewGroup(ctx), &diary{}
			g.Start("door", func(ctx context.Context) error {
				<-Stopping(ctx)
				d.note("door knows")
				<-ctx.Done()
				d.note("door told")
				return nil
			})
			g.Start(d.part("work", nil))
			cancel()
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			slices.Sort(d.lines[:2]) // these two have no order
			if want := []string{"door knows", "work told", "work ended", "door told"}; !slices.Equal(d.lines, want) {
				t.Errorf("happened %q", d.lines)
			}
		})
	})
	t.Run("AllWorkOnForTheDrainDelay", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			d := &diary{}
			g := Config{DrainDelay: 3 * time.Second}.Group(ctx)
			g.Start("service", func(ctx context.Context) error {
				inner := NewGroup(ctx)
				inner.Start("door", func(ctx context.Context) error {
					<-Draining(ctx)
					d.note("drains")
					select {
					case <-Stopping(ctx):
						d.note("too early")
					case <-time.After(2 * time.Second):
					}
					<-Stopping(ctx)
					<-ctx.Done()
					d.note("told")
					return nil
				})
				return inner.Wait()
			})
			time.AfterFunc(time.Hour, cancel)
			began := time.Now()
			err := g.Wait()
			if took := time.Since(began) - time.Hour; err != nil || took != 3*time.Second {
				t.Errorf("ended %v after it was told, with %v", took, err)
			}
			if want := []string{"drains", "told"}; !slices.Equal(d.lines, want) {
				t.Errorf("happened %q", d.lines)
			}
		})
	})
	t.Run("WhoFailsDoesNotDrain", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			for name, failsAfter := range map[string]time.Duration{"AtOnce": 0, "WhileItDrains": time.Hour + time.Second} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				g, began := Config{DrainDelay: time.Minute}.Group(ctx), time.Now()
				g.Start("bad", func(context.Context) error { time.Sleep(failsAfter); return errPart }) //nolint:forbidigo // virtual time
				if err := g.Wait(); !errors.Is(err, errPart) || time.Since(began) != failsAfter {
					t.Errorf("%s: %v after %v", name, err, time.Since(began))
				}
				cancel()
			}
		})
	})
	t.Run("StoppingIsBounded", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			release := make(chan struct{})
			defer close(release)
			g, began := NewGroup(ctx), time.Now()
			g.Start("a", func(ctx context.Context) error { <-ctx.Done(); return nil })
			g.Start("stuck", func(context.Context) error { <-release; return nil })
			cancel()
			err := g.Wait()
			if err == nil || !strings.Contains(err.Error(), "stuck did not stop within 25s") || time.Since(began) != g.Grace {
				t.Errorf("err %v after %s", err, time.Since(began))
			}
		})
	})
	t.Run("NothingStartsTooLate", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		g := NewGroup(ctx)
		g.Start("late", func(context.Context) error { return errPart })
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// A group of random parts, which start others, end, fail and are told to stop at random, ends; and no part is told to
// stop while one started after it runs.
func TestGroupUnderStress(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		stress(t, rand.New(rand.NewPCG(r.Uint64(), 0)))
	}
}

func stress(t *testing.T, r *rand.Rand) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(1500))*time.Microsecond)
	defer cancel()
	g := NewGroup(ctx)
	var mu sync.Mutex // guards running, and makes a start and its number one step
	var running []int
	started, failed := 0, false
	var start func(depth int)
	start = func(depth int) {
		mu.Lock()
		defer mu.Unlock()
		me, fate, nap := started, r.IntN(10), time.Duration(r.IntN(2000))*time.Microsecond
		started++
		g.Start(fmt.Sprint(me), func(ctx context.Context) error {
			mu.Lock()
			running = append(running, me)
			mu.Unlock()
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				running = slices.DeleteFunc(running, func(n int) bool { return n == me })
			}()
			if depth > 0 && fate < 4 {
				start(depth - 1)
			}
			select {
			case <-ctx.Done():
				mu.Lock()
				defer mu.Unlock()
				if last := slices.Max(running); last > me {
					t.Errorf("part %d was told to stop while part %d ran", me, last)
				}
				return ctx.Err()
			case <-time.After(nap):
			}
			if fate == 9 {
				mu.Lock()
				defer mu.Unlock()
				failed = true
				return errPart
			}
			return nil
		})
	}
	for range 6 {
		start(2)
	}
	err := g.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(running) != 0 {
		t.Errorf("parts %v still run", running)
	}
	if failed != errors.Is(err, errPart) {
		t.Errorf("a part failed: %v, but err = %v", failed, err)
	}
}
