package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// years fills the tables with letters of two groups and twenty causes, one each 50 s. One in fifty is dead, all were
// mended once. Five hundred jobs took a hundred each and are done; one took the rest, has fifty of them to send and fifty to hear of.
const years = `
	INSERT INTO letters (id, consumer_group, event_id, event_type, raw, topic, partition, record_offset, key, value, headers, omitted_bytes,
			state, deaths, cause, attempts, first_failed_at, last_failed_at, error_kind, error, collected_at, revision, rehearsed)
		SELECT md5(n::text), CASE n % 2 WHEN 0 THEN 'points' ELSE 'inventory' END, 'e-' || n, 'type-' || n % 3, false, 'order_created', n % 12, n,
			('k-' || n % 50000)::bytea, 'v', '', 0, CASE WHEN n % 50 = 0 OR n > 99900 THEN 'dead' ELSE 'applied' END, 1, 'c-' || n % 20, 3, at, at, 'kind-' || n % 4,
			'unknown item sku-' || n, at, 1, 1
		FROM (SELECT n, (extract(epoch FROM now()) * 1000)::bigint - (100000 - n) * 50000::bigint AS at FROM generate_series(1, 100000) n) t;
	INSERT INTO failures SELECT id, topic, partition, record_offset, last_failed_at, first_failed_at, attempts, error_kind, error, '' FROM letters;
	INSERT INTO edits SELECT id, 1, collected_at, 'x', 'x', 'v', 'w' FROM letters;
	INSERT INTO causes SELECT 'c-' || n, CASE n % 2 WHEN 0 THEN 'points' ELSE 'inventory' END, 'kind-' || n % 4, 'unknown item', CASE WHEN n % 10 = 0 THEN 1000 ELSE 1 END,
			0, 0, md5(n::text), '', false FROM generate_series(0, 19) n;
	INSERT INTO cause_minutes SELECT 'c-' || n % 20, extract(epoch FROM now())::bigint / 60 - n / 20, 1 FROM generate_series(0, 99999) n;
	INSERT INTO facets SELECT DISTINCT consumer_group, topic, event_type, error_kind FROM letters;
	INSERT INTO jobs SELECT 'j-' || lpad(n::text, 4, '0'), 'run', '{}', 'x', 'x', CASE WHEN n < 500 THEN 'done' ELSE 'running' END, '', 1000, 5, 1000, 1000, 0, 0, 0,
			CASE WHEN n < 500 THEN 0 ELSE 50 END, CASE WHEN n < 500 THEN 0 ELSE 50 END, CASE WHEN n < 500 THEN 100 ELSE 49900 END, 0, 0, 0, 0, 0, 0, 0
		FROM generate_series(0, 500) n;
	INSERT INTO job_letters (job, n, letter, outcome, claim, asks, sent_at)
		SELECT 'j-' || lpad(least(n / 100, 500)::text, 4, '0'), n, md5((n + 1)::text), CASE WHEN n < 99900 THEN 'applied' WHEN n < 99950 THEN 'sent' ELSE 'waiting' END,
			CASE WHEN n >= 99900 THEN md5((n + 1)::text) END, CASE WHEN n < 99950 THEN 1 ELSE 0 END, 0 FROM generate_series(0, 99999) n;
	INSERT INTO audit SELECT n, 0, 'x', 'discard', 'letters', 'x', '{}', 'x' FROM generate_series(1, 100000) n;
	UPDATE audit_head SET n = 100000, hash = 'x'`

const here = "services/dlq-replayer/internal/store/"

var groups = []string{"points", "inventory"}

// TestPlansOfAFullDeadLetterOffice learns how Postgres runs what dlq-replayer does all day, on full tables.
func TestPlansOfAFullDeadLetterOffice(t *testing.T) {
	t.Parallel()
	p := servertest.NewPlans(t, "dlq-replayer")
	p.Fill([]database.Migrations{store.Migrations, outbox.Migrations}, years)
	var sent, dead []string
	p.Look(`SELECT letter FROM job_letters WHERE job = 'j-0500' AND outcome = 'sent' ORDER BY n`, &sent)
	p.Look(`SELECT id FROM letters WHERE state = 'dead' ORDER BY seq LIMIT 100`, &dead)
	p.Watch()
	s := store.Store{DB: p.DB}
	watchCollecting(p, dead)
	watchReplays(p, s, sent)
	watchLooks(p, s, dead[7])
	watchDecisions(p, s, dead)
	// These are read whole: what letters died of, which kinds of letters there are, the one row that heads the audit, and an index
	// that holds nothing but what is asked for.
	p.Check("causes", "facets", "audit_head", "jobs_open")
}

func watchCollecting(p *servertest.Plans, dead []string) {
	now := time.Now().UnixMilli()
	p.Path("collect dead letters", here+"collect.go", func(ctx context.Context) error {
		var batch []letter.Letter
		for i := range 100 {
			l := letter.Letter{
				Group: "points", EventID: fmt.Sprint("new-", i), Type: "type-1", Topic: "order_created", Offset: int64(200_000 + i), Cause: "c-5",
				Last: letter.Failure{Topic: "order_created", Offset: int64(200_000 + i), Attempts: 3, FirstMS: now, LastMS: now, Kind: "kind-1", Error: "x"},
			}
			if l.ID = letter.Identify(l); i == 0 {
				l.ID = dead[0] // it died before
			}
			batch = append(batch, l)
		}
		return p.DB.Tx(ctx, func(tx *database.Tx) error {
			changed, err := store.CollectTx(ctx, tx, batch)
			if err == nil && (!changed[0] || !changed[99]) {
				return errors.New("the first or the last letter was known")
			}
			return err
		})
	}, "Conflict Arbiter Indexes: letters_id_key", "Index Scan using letters_id_key", "Update on letters", "Insert on failures",
		"Conflict Arbiter Indexes: cause_minutes_pkey", "Conflict Arbiter Indexes: causes_pkey")
}

func watchReplays(p *servertest.Plans, s store.Store, sent []string) {
	p.Path("find the jobs that are open", here+"jobs.go", func(ctx context.Context) error {
		open, err := s.OpenJobs(ctx)
		if err == nil && len(open) != 1 {
			return fmt.Errorf("%d jobs are open, not 1", len(open))
		}
		return err
	}, "Index Only Scan using jobs_open")
	p.Path("send the letters of a job whose turn it is", here+"drive.go", func(ctx context.Context) error {
		n, err := s.Advance(ctx, "j-0500", store.Drive{Groups: groups, Answer: time.Minute})
		if err == nil && n == 0 {
			return errors.New("no letter was sent")
		}
		return err
	}, "using jobs_pkey", "using job_letters_by_outcome", "using letters_id_key", "Update on job_letters", "Insert on outbox")
	p.Path("hear what became of letters", here+"drive.go", func(ctx context.Context) error {
		var outcomes []kafka.Outcome
		for i, id := range sent {
			o := kafka.Outcome{Job: "j-0500", Letter: id, Group: "points", Kind: kafka.Applied, AtMS: 1}
			if i == 0 {
				o.Kind, o.ErrorKind, o.Error = kafka.FailedAgain, "kind-1", "x"
			}
			outcomes = append(outcomes, o)
		}
		return p.DB.Tx(ctx, func(tx *database.Tx) error {
			news, err := store.HearTx(ctx, tx, outcomes)
			if err == nil && (!news[0] || !news[49]) {
				return errors.New("the first or the last outcome was known")
			}
			return err
		})
	}, "using letters_id_key", "Update on job_letters", "Update on letters")
	p.Path("freeze a selection into a job", here+"jobs.go", func(ctx context.Context) error {
		j := replay.Job{Mode: replay.Run, Reason: "x", By: "x", Rate: 50, Budget: 5}
		_, err := s.CreateJob(ctx, j, store.Selection{Filter: &store.Query{Cause: "c-10"}}, groups)
		return err
	}, "letters_by_cause", "using job_letters_claim_key", "Insert on job_letters", "Insert on audit")
	p.Path("read a page of a job's letters", here+"jobs.go", func(ctx context.Context) error {
		page, err := s.JobLetters(ctx, "j-0500", "", 70_000, 20)
		if err == nil && len(page) != 20 {
			return fmt.Errorf("a page of %d letters, not 20", len(page))
		}
		return err
	}, "using job_letters_in_order")
	p.Path("list jobs", here+"jobs.go", func(ctx context.Context) error {
		_, err := s.Jobs(ctx, "", "j-0250", 20)
		return err
	}, "using jobs_pkey")
}

func watchLooks(p *servertest.Plans, s store.Store, id string) {
	p.Path("count dead letters by kind", here+"census.go", func(ctx context.Context) error {
		_, err := s.Kinds(ctx)
		return err
	})
	p.Path("find the oldest dead letters", here+"census.go", func(ctx context.Context) error {
		_, _, err := s.Oldest(ctx)
		return err
	}, "Index Only Scan using letters_oldest")
	p.Path("list causes", here+"read.go", func(ctx context.Context) error {
		_, err := s.Causes(ctx, false)
		return err
	}, "Index Cond: ((cause = c.id) AND (minute >")
	for _, look := range []struct {
		by, index string
		query     store.Query
	}{
		{"state", "letters_by_state", store.Query{State: letter.Dead}},
		{"cause", "letters_by_cause", store.Query{Cause: "c-10", State: letter.Dead}},
		{"key", "letters_by_key", store.Query{Key: "k-77"}},
		{"words of the error", "letters_by_text", store.Query{Text: "sku-77123"}},
	} {
		p.Path("list a page of letters by "+look.by, here+"read.go", func(ctx context.Context) error {
			look.query.Limit = 20
			page, next, err := s.Letters(ctx, look.query)
			if look.query.Cursor = next; err == nil && len(page) == 0 {
				return errors.New("the page is empty")
			}
			if err == nil && next != "" {
				_, _, err = s.Letters(ctx, look.query)
			}
			return err
		}, look.index)
	}
	p.Path("show a letter with its history", here+"read.go", func(ctx context.Context) error {
		_, _, letterErr := s.Letter(ctx, id)
		_, replayErr := s.Replays(ctx, id)
		_, editErr := s.Edits(ctx, id)
		return errors.Join(letterErr, replayErr, editErr)
	}, "using letters_id_key", "failures_pkey", "job_letters_by_letter", "edits_pkey")
	p.Path("read a page of the audit", here+"audit.go", func(ctx context.Context) error {
		_, err := s.Audit(ctx, 50_000, 20)
		return err
	}, "using audit_pkey")
}

func watchDecisions(p *servertest.Plans, s store.Store, dead []string) {
	p.Path("mend letters", here+"mend.go", func(ctx context.Context) error {
		m, err := s.Mend(ctx, store.Selection{IDs: dead[50:]}, "patch", "x", "x", func(letter.Letter) ([]byte, error) { return []byte("w"), nil })
		if err == nil && m.Mended == 0 {
			return errors.New("nothing was mended")
		}
		return err
	}, "using letters_id_key", "Insert on edits", "Update on letters")
	p.Path("discard letters", here+"letters.go", func(ctx context.Context) error {
		n, err := s.Decide(ctx, "discard", store.Selection{IDs: dead[50:]}, "x", "x")
		if err == nil && n == 0 {
			return errors.New("nothing was discarded")
		}
		return err
	}, "using letters_id_key", "Update on letters")
	p.Path("delete letters for their age", here+"expire.go", func(ctx context.Context) error {
		const week = 7 * 24 * time.Hour
		if soon, err := s.Expiring(ctx, 8*week, week); err != nil || soon == 0 {
			return errors.Join(errors.New("no letter expires soon"), err)
		}
		n, err := s.Expire(ctx, 57*24*time.Hour)
		if err == nil && n == 0 {
			return errors.New("no letter was deleted")
		}
		return err
	}, "letters_by_time", "failures_pkey", "cause_minutes_by_time")
}
