package store_test

import (
	"context"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/store"
)

// list reads all pages of a user's orders.
func (s shop) list(t *testing.T, q store.Query) (ids []string) {
	t.Helper()
	for {
		page, next, err := s.List(t.Context(), q)
		must(t, err)
		for _, o := range page {
			if len(o.Items) == 0 {
				t.Errorf("order %s has no items", o.ID)
			}
			ids = append(ids, o.ID)
		}
		if q.Cursor = next; next == "" {
			return ids
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()

	t.Run("NewestFirstPageByPage", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 50)
			var want, cancelled []string
			for i := range 9 {
				drafts := []order.Draft{draft("ann", line("tea", 1)), draft("bob", line("tea", 1)), draft("ann", line("tea", 1))}
				_, err := s.Accept(t.Context(), drafts)
				must(t, err)
				want = append(want, drafts[0].ID, drafts[2].ID)
				if i%4 == 0 {
					_, _, err := s.Cancel(t.Context(), drafts[2].ID, "ann", "")
					must(t, err)
					cancelled = append(cancelled, drafts[2].ID)
				}
			}
			slices.Reverse(want)
			slices.Reverse(cancelled)
			for _, limit := range []int{1, 4, 18, 100} {
				if got := s.list(t, store.Query{UserID: "ann", Limit: limit}); !slices.Equal(got, want) {
					t.Errorf("by %d: %v, want %v", limit, got, want)
				}
			}
			if got := s.list(t, store.Query{UserID: "ann", Status: order.Cancelled, Limit: 2}); !slices.Equal(got, cancelled) {
				t.Errorf("cancelled %v, want %v", got, cancelled)
			}
			for range 2 {
				must(t, s.Hide(t.Context(), cancelled[0]))
			}
			if got := s.list(t, store.Query{UserID: "ann", Limit: 50}); len(got) != len(want)-1 || slices.Contains(got, cancelled[0]) {
				t.Errorf("a hidden order is listed: %v", got)
			}
			if got := s.get(t, cancelled[0]); got.Status != order.Cancelled {
				t.Errorf("a hidden order reads %+v", got)
			}
			_, _, err := s.List(t.Context(), store.Query{UserID: "ann", Limit: 1, Cursor: "eA"})
			refused(t, err, order.Malformed)
		})
	})

	t.Run("TheTimelineTellsEachThingOnce", func(t *testing.T) {
		t.Parallel()
		each(t, func(t *testing.T, s shop) {
			s.stock(t, "tea", 50)
			o := s.buy(t, captured(draft("ann", line("tea", 1))))
			for range 2 {
				s.must(t, about(order.UnitsBooked, o.ID, "inventory"), about(order.Noted, o.ID, "points"))
			}
			_, _, err := s.Refund(t.Context(), o.ID, "shop:x", "broken")
			must(t, err)
			entries, err := s.Timeline(t.Context(), o.ID)
			must(t, err)
			var got []string
			for _, e := range entries {
				got = append(got, e.Service+" "+e.What)
			}
			want := []string{ // what the others told has a later time in this test
				"order-api created", "order-api paid", "order-api refunded", "order-api refund-due", "inventory booked", "points noted",
			}
			if !slices.Equal(got, want) {
				t.Errorf("timeline %v, want %v", got, want)
			}
			since, err := s.TimelineSince(t.Context(), map[string]int64{o.ID: entries[1].Seq, "no id": 0})
			must(t, err)
			for _, e := range since {
				if e.Seq <= entries[1].Seq || e.OrderID != o.ID {
					t.Errorf("since %d: %+v", entries[1].Seq, e)
				}
			}
			if len(since) != 3 {
				t.Errorf("since %d: %d entries, want 3", entries[1].Seq, len(since))
			}
		})
	})
}

// given is what a cursor of List says.
var given = regexp.MustCompile(`^[+-]?[0-9]{1,18}\.[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func FuzzCursors(f *testing.F) {
	s, err := store.Open(servertest.SQLite(f))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", "%", "AA",
		base64.RawURLEncoding.EncodeToString([]byte("1.0190e2a4-0000-7000-8000-000000000001")),
		base64.RawURLEncoding.EncodeToString([]byte("now.0190e2a4-0000-7000-8000-000000000001")),
		strings.Repeat("A", 999),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		// A cursor is refused as malformed, or it reaches the database, which has no tables here and fails otherwise.
		_, _, err := s.List(context.Background(), store.Query{UserID: "ann", Limit: 1, Cursor: cursor})
		text, _ := base64.RawURLEncoding.DecodeString(cursor)
		if known := cursor == "" || given.Match(text); err == nil || (code(err) == order.Malformed) == known {
			t.Errorf("List of %q: %v", text, err)
		}
		_, _, err = s.Items(context.Background(), 1, cursor)
		if err == nil || code(err) != order.Malformed && !strings.Contains(err.Error(), "no such table") {
			t.Errorf("Items: %v", err)
		}
	})
}
