package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
)

// death names one failure of one letter.
type death struct {
	letter    string
	topic     string
	partition int
	offset    int64
	lastMS    int64
}

func deathOf(l letter.Letter) death {
	return death{l.ID, l.Last.Topic, l.Last.Partition, l.Last.Offset, l.Last.LastMS}
}

// standing is what collecting needs to know of a letter, and what it changes.
type standing struct {
	id      string
	state   letter.State
	deaths  int
	cause   string
	last    letter.Failure
	counted string // the cause that counts the letter now, "" for none
}

// CollectTx stores deaths: letters as they came, the failures of those that died before, and what they died of. It says
// for each whether it was new.
//
// Law 6: failures, letters, causes, their minutes and facets are touched in this order, each sorted by key.
func CollectTx(ctx context.Context, tx *database.Tx, letters []letter.Letter) ([]bool, error) {
	fresh, err := noteFailuresTx(ctx, tx, letters)
	if err != nil {
		return nil, err
	}
	changed := make([]bool, len(letters))
	var died []letter.Letter
	for i, l := range letters {
		if changed[i] = fresh[deathOf(l)]; changed[i] {
			delete(fresh, deathOf(l)) // told twice in one batch
			died = append(died, l)
		}
	}
	if len(died) == 0 {
		return changed, nil
	}
	stand, err := lockTx(ctx, tx, died)
	if err != nil {
		return nil, err
	}
	for _, l := range died {
		stand[l.ID].hear(l)
	}
	if err := writeTx(ctx, tx, stand); err != nil {
		return nil, err
	}
	if err := countTx(ctx, tx, stand, died); err != nil {
		return nil, err
	}
	if err := strikeTx(ctx, tx, died); err != nil {
		return nil, err
	}
	return changed, meetTx(ctx, tx, died)
}

// meetTx keeps which groups, topics, types and kinds of error met in a letter; see Query.where.
func meetTx(ctx context.Context, tx *database.Tx, died []letter.Letter) error {
	met := map[[4]string]bool{}
	for _, l := range died {
		met[[4]string{l.Group, l.Last.Topic, l.Type, l.Last.Kind}] = true
	}
	sorted := slices.SortedFunc(maps.Keys(met), func(a, b [4]string) int { return slices.Compare(a[:], b[:]) })
	part := func(n int) func(f [4]string) string { return func(f [4]string) string { return f[n] } }
	v := database.NewValues(col("consumer_group", "text", sorted, part(0)), col("topic", "text", sorted, part(1)),
		col("event_type", "text", sorted, part(2)), col("error_kind", "text", sorted, part(3)))
	_, err := tx.ExecValues(ctx, v, `INSERT INTO facets (consumer_group, topic, event_type, error_kind)
		SELECT v.consumer_group, v.topic, v.event_type, v.error_kind FROM v WHERE true ON CONFLICT DO NOTHING`)
	if err != nil {
		return fmt.Errorf("keep what met in letters: %w", err)
	}
	return nil
}

// minute is one minute of one cause.
type minute struct {
	cause string
	at    int64
}

// strikeTx counts deaths by cause and minute.
func strikeTx(ctx context.Context, tx *database.Tx, died []letter.Letter) error {
	deaths := map[minute]int64{}
	for _, l := range died {
		deaths[minute{l.Cause, l.Last.LastMS / 60_000}]++
	}
	sorted := slices.SortedFunc(maps.Keys(deaths), func(a, b minute) int {
		return cmp.Or(cmp.Compare(a.cause, b.cause), cmp.Compare(a.at, b.at))
	})
	v := database.NewValues(
		col("cause", "text", sorted, func(m minute) string { return m.cause }),
		col("minute", "bigint", sorted, func(m minute) int64 { return m.at }),
		col("deaths", "bigint", sorted, func(m minute) int64 { return deaths[m] }))
	_, err := tx.ExecValues(ctx, v, `INSERT INTO cause_minutes (cause, minute, deaths) SELECT v.cause, v.minute, v.deaths FROM v WHERE true
		ON CONFLICT (cause, minute) DO UPDATE SET deaths = cause_minutes.deaths + excluded.deaths`)
	if err != nil {
		return fmt.Errorf("count the minutes of causes: %w", err)
	}
	return nil
}

// hear lets a letter die. The newest death says what it died of; an older one that is told late does not.
func (s *standing) hear(l letter.Letter) {
	s.deaths++
	s.state = letter.Dead
	if s.cause == "" || l.Last.LastMS >= s.last.LastMS {
		s.cause, s.last = l.Cause, l.Last
	}
}

// noteFailuresTx writes the failures that were not known, and says which those are.
func noteFailuresTx(ctx context.Context, tx *database.Tx, letters []letter.Letter) (map[death]bool, error) {
	unique := map[death]letter.Letter{}
	for _, l := range letters {
		unique[deathOf(l)] = l
	}
	sorted := slices.SortedFunc(maps.Keys(unique), func(a, b death) int {
		return cmp.Or(cmp.Compare(a.letter, b.letter), cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition),
			cmp.Compare(a.offset, b.offset), cmp.Compare(a.lastMS, b.lastMS))
	})
	of := func(d death) letter.Failure { return unique[d].Last }
	v := database.NewValues(
		col("letter", "text", sorted, func(d death) string { return d.letter }),
		col("topic", "text", sorted, func(d death) string { return d.topic }),
		col("partition", "int", sorted, func(d death) int { return d.partition }),
		col("record_offset", "bigint", sorted, func(d death) int64 { return d.offset }),
		col("last_failed_at", "bigint", sorted, func(d death) int64 { return d.lastMS }),
		col("first_failed_at", "bigint", sorted, func(d death) int64 { return of(d).FirstMS }),
		col("attempts", "int", sorted, func(d death) int { return of(d).Attempts }),
		col("error_kind", "text", sorted, func(d death) string { return of(d).Kind }),
		col("error", "text", sorted, func(d death) string { return of(d).Error }),
		col("via", "text", sorted, func(d death) string { return string(of(d).Via) }))
	rows, err := tx.QueryValues(ctx, v, `INSERT INTO failures
			(letter, topic, partition, record_offset, last_failed_at, first_failed_at, attempts, error_kind, error, via)
		SELECT v.letter, v.topic, v.partition, v.record_offset, v.last_failed_at, v.first_failed_at, v.attempts, v.error_kind, v.error, v.via
		FROM v WHERE true ON CONFLICT DO NOTHING RETURNING letter, topic, partition, record_offset, last_failed_at`)
	fresh := map[death]bool{}
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (d death, err error) {
		err = rows.Scan(&d.letter, &d.topic, &d.partition, &d.offset, &d.lastMS)
		fresh[d] = true
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("note %d failures: %w", len(sorted), err)
	}
	return fresh, nil
}

// lockTx makes the letters that are not there, as they came, and locks all.
func lockTx(ctx context.Context, tx *database.Tx, died []letter.Letter) (map[string]*standing, error) {
	first := map[string]letter.Letter{}
	for _, l := range died {
		if _, known := first[l.ID]; !known {
			first[l.ID] = l
		}
	}
	ids := slices.Sorted(maps.Keys(first))
	if err := insertTx(ctx, tx, ids, first); err != nil {
		return nil, fmt.Errorf("store %d letters: %w", len(ids), err)
	}
	rows, err := tx.QueryValues(ctx, database.NewValues(database.Col("id", "text", ids)), `
		SELECT l.id, l.state, l.deaths, l.cause, l.topic, l.partition, l.record_offset, l.attempts, l.first_failed_at,
			l.last_failed_at, l.error_kind, l.error
		FROM letters l WHERE l.id IN (SELECT v.id FROM v) ORDER BY l.id`+tx.Dialect.ForUpdate())
	stand := map[string]*standing{}
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (s standing, err error) {
		err = rows.Scan(&s.id, &s.state, &s.deaths, &s.cause, &s.last.Topic, &s.last.Partition, &s.last.Offset, &s.last.Attempts,
			&s.last.FirstMS, &s.last.LastMS, &s.last.Kind, &s.last.Error)
		if s.state == letter.Dead && s.deaths > 0 {
			s.counted = s.cause
		}
		stand[s.id] = &s
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("lock %d letters: %w", len(ids), err)
	}
	return stand, nil
}

// insertTx stores letters that are new, with no death yet.
func insertTx(ctx context.Context, tx *database.Tx, ids []string, first map[string]letter.Letter) error {
	of := func(f func(l letter.Letter) string) func(id string) string {
		return func(id string) string { return f(first[id]) }
	}
	v := database.NewValues(
		database.Col("id", "text", ids),
		col("consumer_group", "text", ids, of(func(l letter.Letter) string { return l.Group })),
		col("event_id", "text", ids, of(func(l letter.Letter) string { return l.EventID })),
		col("event_type", "text", ids, of(func(l letter.Letter) string { return l.Type })),
		col("raw", "boolean", ids, func(id string) bool { return first[id].Raw }),
		col("topic", "text", ids, of(func(l letter.Letter) string { return l.Topic })),
		col("partition", "int", ids, func(id string) int { return first[id].Partition }),
		col("record_offset", "bigint", ids, func(id string) int64 { return first[id].Offset }),
		col("key", "bytea", ids, func(id string) []byte { return first[id].Key }),
		col("value", "bytea", ids, func(id string) []byte { return first[id].Value }),
		col("headers", "bytea", ids, func(id string) []byte { return packed(first[id].Headers) }),
		col("omitted_bytes", "bigint", ids, func(id string) int64 { return int64(first[id].Omitted) }))
	_, err := tx.ExecValues(ctx, v, `INSERT INTO letters (id, consumer_group, event_id, event_type, raw, topic, partition,
			record_offset, key, value, headers, omitted_bytes, state, deaths, cause, attempts, first_failed_at, last_failed_at,
			error_kind, error, collected_at)
		SELECT v.id, v.consumer_group, v.event_id, v.event_type, v.raw, v.topic, v.partition, v.record_offset, v.key, v.value,
			v.headers, v.omitted_bytes, 'dead', 0, '', 0, 0, 0, '', '', `+tx.Dialect.NowMS()+`
		FROM v WHERE true ON CONFLICT (id) DO NOTHING`)
	return err
}

// writeTx writes what became of letters.
func writeTx(ctx context.Context, tx *database.Tx, stand map[string]*standing) error {
	ids := slices.Sorted(maps.Keys(stand))
	v := database.NewValues(
		database.Col("id", "text", ids),
		col("state", "text", ids, func(id string) string { return string(stand[id].state) }),
		col("deaths", "int", ids, func(id string) int { return stand[id].deaths }),
		col("cause", "text", ids, func(id string) string { return stand[id].cause }),
		col("topic", "text", ids, func(id string) string { return stand[id].last.Topic }),
		col("partition", "int", ids, func(id string) int { return stand[id].last.Partition }),
		col("record_offset", "bigint", ids, func(id string) int64 { return stand[id].last.Offset }),
		col("attempts", "int", ids, func(id string) int { return stand[id].last.Attempts }),
		col("first_failed_at", "bigint", ids, func(id string) int64 { return stand[id].last.FirstMS }),
		col("last_failed_at", "bigint", ids, func(id string) int64 { return stand[id].last.LastMS }),
		col("error_kind", "text", ids, func(id string) string { return stand[id].last.Kind }),
		col("error", "text", ids, func(id string) string { return stand[id].last.Error }))
	_, err := tx.ExecValues(ctx, v, `UPDATE letters SET state = v.state, deaths = v.deaths, cause = v.cause, topic = v.topic,
			partition = v.partition, record_offset = v.record_offset, attempts = v.attempts, first_failed_at = v.first_failed_at,
			last_failed_at = v.last_failed_at, error_kind = v.error_kind, error = v.error
		FROM v WHERE letters.id = v.id`)
	if err != nil {
		return fmt.Errorf("write %d letters: %w", len(ids), err)
	}
	return nil
}

// tally is what a batch changes of one cause.
type tally struct {
	id, group, kind, message string
	dead                     int64
	firstMS, lastMS          int64
	newest                   string
}

// countTx moves the counts of causes: from the one that counted a letter to the one it died of now.
func countTx(ctx context.Context, tx *database.Tx, stand map[string]*standing, died []letter.Letter) error {
	causes := map[string]*tally{}
	for _, l := range died {
		t := causes[l.Cause]
		if t == nil {
			t = &tally{id: l.Cause, group: l.Group, kind: l.Last.Kind, message: letter.Message(l.Last.Error), firstMS: l.Last.FirstMS}
			causes[l.Cause] = t
		}
		t.firstMS = min(t.firstMS, l.Last.FirstMS)
		if l.Last.LastMS >= t.lastMS {
			t.lastMS, t.newest = l.Last.LastMS, l.ID
		}
	}
	for _, s := range stand {
		if s.counted == s.cause {
			continue
		}
		if s.counted != "" {
			if causes[s.counted] == nil {
				causes[s.counted] = &tally{id: s.counted}
			}
			causes[s.counted].dead--
		}
		causes[s.cause].dead++
	}
	return upsertCausesTx(ctx, tx, causes)
}

func upsertCausesTx(ctx context.Context, tx *database.Tx, causes map[string]*tally) error {
	ids := slices.Sorted(maps.Keys(causes))
	v := database.NewValues(
		database.Col("id", "text", ids),
		col("consumer_group", "text", ids, func(id string) string { return causes[id].group }),
		col("error_kind", "text", ids, func(id string) string { return causes[id].kind }),
		col("message", "text", ids, func(id string) string { return causes[id].message }),
		col("dead", "bigint", ids, func(id string) int64 { return causes[id].dead }),
		col("first_seen_at", "bigint", ids, func(id string) int64 { return causes[id].firstMS }),
		col("last_seen_at", "bigint", ids, func(id string) int64 { return causes[id].lastMS }),
		col("newest", "text", ids, func(id string) string { return causes[id].newest }))
	_, err := tx.ExecValues(ctx, v, `INSERT INTO causes (id, consumer_group, error_kind, message, dead, first_seen_at, last_seen_at, newest)
		SELECT v.id, v.consumer_group, v.error_kind, v.message, v.dead, v.first_seen_at, v.last_seen_at, v.newest FROM v WHERE true
		ON CONFLICT (id) DO UPDATE SET dead = causes.dead + excluded.dead,
			first_seen_at = CASE WHEN excluded.newest <> '' AND excluded.first_seen_at < causes.first_seen_at
				THEN excluded.first_seen_at ELSE causes.first_seen_at END,
			newest = CASE WHEN excluded.newest <> '' AND excluded.last_seen_at >= causes.last_seen_at
				THEN excluded.newest ELSE causes.newest END,
			last_seen_at = CASE WHEN excluded.last_seen_at > causes.last_seen_at
				THEN excluded.last_seen_at ELSE causes.last_seen_at END`)
	if err != nil {
		return fmt.Errorf("count %d causes: %w", len(ids), err)
	}
	return nil
}

// col is a column of what of says of each element.
func col[E, T any](name, typ string, elems []E, of func(E) T) database.Column {
	values := make([]T, len(elems))
	for i, e := range elems {
		values[i] = of(e)
	}
	return database.Col(name, typ, values)
}

func packed(headers []letter.Header) []byte {
	all := make([]outbox.Header, len(headers))
	for i, h := range headers {
		all[i] = outbox.Header(h)
	}
	return outbox.EncodeHeaders(all)
}
