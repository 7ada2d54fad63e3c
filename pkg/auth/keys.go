package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

const (
	refresh = 5 * time.Minute  // of keys behind a URL; a revoked key is believed no longer than that
	fetch   = 3 * time.Second  // how long fetching them may take
	unknown = 10 * time.Second // between two fetches because a token named a key we have not seen
	look    = time.Second      // between two looks at a file of keys
)

// fetched are the keys behind a URL.
func fetched(ctx context.Context, url string) (keys, error) {
	limit := rate.NewLimiter(rate.Every(unknown), 1)
	set, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{url}, keyfunc.Override{
		HTTPTimeout:       fetch,
		RateLimitWaitMax:  fetch, // bounds the fetch too
		RefreshInterval:   refresh,
		RefreshUnknownKID: limit,
		// A fetch that fails shows when a token needs the key: as ErrKeysAway.
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) { return func(context.Context, error) {} },
	})
	if err != nil {
		return nil, fmt.Errorf("keys of %s: %w", url, err)
	}
	return func(ctx context.Context, token *jwt.Token) (any, error) {
		key, err := set.KeyfuncCtx(ctx)(token)
		if all, readErr := set.Storage().KeyReadAll(ctx); readErr != nil || len(all) == 0 {
			return nil, fmt.Errorf("%w: %s gave none", ErrKeysAway, url)
		}
		return key, err
	}, nil
}

// file is the keys in a file that may be replaced at any time, as Kubernetes does with a mounted secret.
type file struct {
	path string

	mu     sync.Mutex // guards what follows
	set    keyfunc.Keyfunc
	stamp  time.Time // of the file that set was read from
	size   int64
	looked time.Time
}

func fromFile(path string) (keys, error) {
	f := &file{path: path}
	if err := f.read(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, token *jwt.Token) (any, error) { return f.current().KeyfuncCtx(ctx)(token) }, nil
}

// current looks whether the file was replaced. One that cannot be read changes nothing: the keys we have are still the
// last that were good.
func (f *file) current() keyfunc.Keyfunc {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) >= look {
		_ = f.read() // half-written: the next look finds the whole
	}
	return f.set
}

// read needs mu, except in the beginning.
func (f *file) read() error {
	f.looked = time.Now()
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if f.set != nil && info.ModTime().Equal(f.stamp) && info.Size() == f.size {
		return nil
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	set, err := keyfunc.NewJWKSetJSON(text)
	if err != nil {
		return fmt.Errorf("keys in %s: %w", f.path, err)
	}
	if all, err := set.Storage().KeyReadAll(context.Background()); err != nil || len(all) == 0 {
		return errors.Join(fmt.Errorf("keys in %s: there are none", f.path), err)
	}
	f.set, f.stamp, f.size = set, info.ModTime(), info.Size()
	return nil
}
