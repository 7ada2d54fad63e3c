package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/tracing"
)

const (
	// planEvery is how often the plan of statements with one summary is asked for.
	planEvery = time.Minute
	// planWithin bounds what asking for a plan may take: the database is slow already.
	planWithin = 2 * time.Second
)

// slow tells of statements that took long, and asks the database how it runs them: in a transaction of its own, which reads
// only, one at a time, and for each summary once a minute.
type slow struct {
	from time.Duration
	log  *slog.Logger
	few  tracing.Few    // events in a second
	work sync.WaitGroup // plans that are asked for

	mu      sync.Mutex           // guards what follows
	asked   map[string]time.Time // when, by summary
	asking  bool
	stopped bool
}

func newSlow(from time.Duration, log *slog.Logger) *slow {
	return &slow{from: from, log: log, asked: map[string]time.Time{}}
}

// query is one statement of what was slow.
type query struct {
	text string
	args []any
}

func (a *asked) queries() []query {
	if a.batch == nil {
		return []query{{a.sql, a.args}}
	}
	var all []query
	for _, q := range a.batch.QueuedQueries {
		all = append(all, query{q.SQL, q.Arguments})
	}
	return all
}

type explainKey struct{}

// note writes one event, in the trace of the statement's request. A statement has placeholders where a customer's words
// would be, so its text may be logged; what stood there is told to the database alone, and texts are masked in its
// plan.
func (s *slow) note(ctx context.Context, db *DB, a *asked, took time.Duration) {
	if ctx.Value(explainKey{}) != nil || !s.few.Room() {
		return
	}
	queries, summary := a.queries(), a.what.summary
	if !s.turn(db, summary) {
		s.tell(ctx, summary, took, queries, "")
		return
	}
	ctx = context.WithoutCancel(ctx) // the request need not wait
	go func() {
		defer s.work.Done()
		defer s.done()
		plan, err := explain(ctx, db.DB, queries)
		if err != nil {
			plan = "none: " + err.Error()
		}
		s.tell(ctx, summary, took, queries, plan)
	}()
}

// turn says that the plan of summary is due and nobody asks for another; who is told so adds to work and calls done.
func (s *slow) turn(db *DB, summary string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	verb, _, _ := strings.Cut(strings.TrimPrefix(summary, "BATCH "), " ")
	if db.Dialect != Postgres || !verbs[verb] || s.asking || s.stopped || time.Since(s.asked[summary]) < planEvery {
		return false
	}
	s.asked[summary], s.asking = time.Now(), true
	s.work.Add(1)
	return true
}

func (s *slow) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking = false
}

// stop waits for the plan that is asked for, and lets nobody ask for more.
func (s *slow) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.work.Wait()
}

func (s *slow) tell(ctx context.Context, summary string, took time.Duration, queries []query, plan string) {
	texts := make([]string, len(queries))
	for i, q := range queries {
		texts[i] = strings.Join(strings.Fields(q.text), " ")
	}
	attrs := []slog.Attr{slog.String("summary", summary), slog.Duration("took", took), slog.String("statement", strings.Join(texts, "; "))}
	if plan != "" {
		attrs = append(attrs, slog.String("plan", plan))
	}
	s.log.LogAttrs(ctx, slog.LevelWarn, "slow statement", attrs...)
}

// explain asks how the database would run queries now. It runs none of them.
func explain(ctx context.Context, db *sql.DB, queries []query) (_ string, err error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, explainKey{}, true), planWithin)
	defer cancel()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return "", fmt.Errorf("begin: %w", err)
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	var plan []string
	for _, q := range queries {
		if verb, _, _ := strings.Cut(summarise(q.text), " "); !verbs[verb] {
			continue
		}
		rows, err := tx.QueryContext(ctx, "EXPLAIN "+q.text, q.args...)
		lines, err := Collect(rows, err, func(rows *sql.Rows) (line string, err error) {
			err = rows.Scan(&line)
			return line, err
		})
		if err != nil {
			return "", fmt.Errorf("explain: %w", err)
		}
		plan = append(plan, lines...)
	}
	return literal.ReplaceAllString(strings.Join(plan, "\n"), "?"), nil
}

// literal is a text within a plan: a condition names what was asked for, a customer perhaps.
var literal = regexp.MustCompile(`'(?:[^']|'')*'`)
