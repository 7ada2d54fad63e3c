package dlqreplayer

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/database"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/outbox"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func header(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }

// dead is a record as pkg/kafka buries it.
func dead(group, event string, offset int64, at int64, kind, text string) kafka.Record {
	return kafka.Record{
		Topic: kafka.DeadLetters, Partition: 1, Offset: offset, Key: []byte("k"), Value: []byte("v"), Time: time.UnixMilli(at),
		Headers: []kafka.Header{
			header("ce_id", event), header("ce_type", "floodgate.order.v1.OrderCreated"), header("dlq-group", group),
			header("dlq-topic", "order_created"), header("dlq-partition", "3"), header("dlq-offset", fmt.Sprint(offset)),
			header("dlq-attempts", "3"), header("dlq-first-failed-at", fmt.Sprint(at-10)), header("dlq-last-failed-at", fmt.Sprint(at)),
			header("dlq-error-kind", kind), header("dlq-error", text),
		},
	}
}

type bundle struct {
	*testing.T
	store.Store
}

func open(t *testing.T, db *database.DB) bundle {
	t.Helper()
	must(t, database.Migrate(t.Context(), db, migrations...))
	return bundle{t, store.Store{DB: db}}
}

// each runs a test on both dialects.
func each(t *testing.T, test func(b bundle)) {
	t.Helper()
	servertest.EachDatabase(t, func(t *testing.T, db *database.DB) { t.Helper(); test(open(t, db)) })
}

func (b bundle) collect(records ...kafka.Record) (changed []bool) {
	b.Helper()
	must(b.T, b.DB.Tx(b.Context(), func(tx *database.Tx) (err error) {
		changed, err = collect(b.Context(), tx, records)
		return err
	}))
	return changed
}

func (b bundle) all(q store.Query) []letter.Letter {
	b.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	page, _, err := b.Letters(b.Context(), q)
	must(b.T, err)
	return page
}

// counts compares every cause's count with its letters.
func (b bundle) counts(want map[string]int64) {
	b.Helper()
	causes, err := b.Causes(b.Context(), true)
	must(b.T, err)
	for _, c := range causes {
		if n := int64(len(b.all(store.Query{Cause: c.ID, State: letter.Dead}))); n != c.Dead {
			b.Errorf("cause %q counts %d, has %d letters", c.Message, c.Dead, n)
		}
		if c.Dead != want[c.Message] {
			b.Errorf("cause %q counts %d, want %d", c.Message, c.Dead, want[c.Message])
		}
		delete(want, c.Message)
	}
	for message, n := range want {
		if n != 0 {
			b.Errorf("cause %q is missing", message)
		}
	}
}

func TestADeathCountsOnce(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		first := dead("points", "e-1", 7, 1000, "failed", "order 17 is odd")
		if got := fmt.Sprint(b.collect(first, first)); got != "[true false]" {
			b.Errorf("told twice at once: %s", got)
		}
		if got := fmt.Sprint(b.collect(first)); got != "[false]" {
			b.Errorf("told again: %s", got)
		}
		b.counts(map[string]int64{"order <n> is odd": 1})
		l := b.all(store.Query{})[0]
		if l.Deaths != 1 || l.State != letter.Dead || l.Group != "points" || l.Topic != "order_created" || l.Partition != 3 || l.Offset != 7 {
			b.Errorf("collected %+v", l)
		}
	})
}

func TestALetterThatDiesAgainIsOneLetter(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		b.collect(dead("points", "e-1", 7, 1000, "failed", "order 17 is odd"), dead("points", "e-2", 8, 1000, "failed", "order 18 is odd"))
		b.collect(dead("points", "e-1", 9, 2000, "failed", "the ledger is full"))
		b.collect(dead("points", "e-1", 5, 500, "failed", "told late")) // an older death moves nothing but the count
		page := b.all(store.Query{})
		if len(page) != 2 {
			b.Fatalf("%d letters, want 2", len(page))
		}
		l, failures, err := b.Letter(b.Context(), page[1].ID)
		must(b.T, err)
		if l.Deaths != 3 || l.Last.Error != "the ledger is full" || l.Offset != 9 || len(failures) != 3 || failures[0].LastMS != 2000 || failures[2].Error != "told late" {
			b.Errorf("died as %+v, failures %+v", l, failures)
		}
		b.counts(map[string]int64{"order <n> is odd": 1, "the ledger is full": 1, "told late": 0})
	})
}

// Every byte stays: NUL and invalid UTF-8 in keys, values, headers and even in what should be text.
func TestALetterIsStoredAsItCame(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		nasty := []byte("\x00\xff\xfe<script>")
		many := make([]kafka.Header, 0, 300)
		for i := range 300 {
			many = append(many, kafka.Header{Key: fmt.Sprint("h", i), Value: nasty})
		}
		raw := dead("points", "e\x00\xff", 1, 1000, "undecodable", "proto: \x00 cannot parse \xff")
		raw.Topic, raw.Key, raw.Value, raw.Headers = kafka.RawErrors, nasty, nasty, append(raw.Headers, many...)
		null := dead("points", "e-null", 2, 1000, "failed", "no value")
		null.Key, null.Value = nil, nil
		empty := dead("points", "e-empty", 3, 1000, "failed", "empty key")
		empty.Key = []byte{}
		large := dead("points", "e-large", 4, 1000, "failed", "large")
		large.Value = bytes.Repeat([]byte("x"), 2<<20)
		bare := kafka.Record{Topic: kafka.DeadLetters, Offset: 5, Value: []byte("who wrote this?"), Time: time.UnixMilli(1000)}
		b.collect(raw, null, empty, large, bare)

		got := map[int64]letter.Letter{}
		for _, l := range b.all(store.Query{}) {
			got[l.Offset] = l
		}
		if l := got[1]; !l.Raw || !bytes.Equal(l.Key, nasty) || !bytes.Equal(l.Value, nasty) || len(l.Headers) != 302 || !bytes.Equal(l.Headers[301].Value, nasty) {
			b.Errorf("raw: %d headers, key %q, value %q", len(l.Headers), l.Key, l.Value)
		}
		if l := got[2]; l.Key != nil || l.Value != nil {
			b.Errorf("null became %q and %q", l.Key, l.Value)
		}
		if l := got[3]; l.Key == nil || len(l.Key) != 0 {
			b.Errorf("an empty key became %v", l.Key)
		}
		if l := got[4]; len(l.Value) != 2<<20 {
			b.Errorf("a large value has %d bytes", len(l.Value))
		}
		if l := got[5]; l.Group != "" || string(l.Value) != "who wrote this?" {
			b.Errorf("a stranger's letter: %+v", l)
		}
	})
}

func TestOthersHeadersAreRead(t *testing.T) {
	t.Parallel()
	kip := read(kafka.Record{Topic: kafka.DeadLetters, Headers: []kafka.Header{
		header("__dlq.errors.group", "shipping"), header("__dlq.errors.topic", "parcels"), header("__dlq.errors.partition", "4"),
		header("__dlq.errors.offset", "99"), header("__dlq.errors.message", "boom"), header("ce_id", "e"),
	}})
	if kip.Group != "shipping" || kip.Topic != "parcels" || kip.Partition != 4 || kip.Offset != 99 || kip.Last.Error != "boom" {
		t.Errorf("KIP-1191: %+v", kip)
	}
	spring := read(kafka.Record{Topic: kafka.DeadLetters, Partition: 2, Offset: 8, Headers: []kafka.Header{
		header("kafka_dlt-original-consumer-group", "billing"), header("kafka_dlt-original-topic", "bills"),
		header("kafka_dlt-original-partition", "\x00\x00\x00\x03"), header("kafka_dlt-original-offset", "\x00\x00\x00\x00\x00\x01\x02\x07"),
		header("kafka_dlt-exception-fqcn", "java.lang.Boom"), header("kafka_dlt-exception-message", "boom"),
	}})
	if spring.Group != "billing" || spring.Topic != "bills" || spring.Partition != 3 || spring.Offset != 0x10207 || spring.Last.Kind != "java.lang.Boom" || spring.Last.Error != "boom" {
		t.Errorf("Spring: %+v", spring)
	}
	odd := read(kafka.Record{Topic: kafka.DeadLetters, Partition: 2, Offset: 8, Headers: []kafka.Header{
		header("kafka_dlt-original-topic", "bills"), header("kafka_dlt-original-partition", "\xff\xff\xff\xff"), header("kafka_dlt-original-offset", "7"),
	}})
	if odd.Topic != "bills" || odd.Partition != 2 || odd.Offset != 8 {
		t.Errorf("numbers that are none: %+v", odd)
	}
}

func TestManyLettersAreFewCauses(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		var records []kafka.Record
		for i := range 2000 {
			records = append(records, dead("g", fmt.Sprint("e-", i), int64(i), int64(1000+i), "failed", fmt.Sprintf("cause %s: item %d of %q", strings.Repeat("x", i%5), i, fmt.Sprint("sku-", i))))
		}
		for len(records) > 0 {
			b.collect(records[:500]...)
			records = records[500:]
		}
		causes, err := b.Causes(b.Context(), false)
		must(b.T, err)
		if len(causes) != 5 {
			b.Errorf("%d causes, want 5: %+v", len(causes), causes)
		}
		for _, c := range causes {
			if c.Dead != 400 || c.LastMS-c.FirstMS < 1900 {
				b.Errorf("cause %+v, want 400 letters", c)
			}
		}
		must(b.T, b.NoteCause(b.Context(), causes[0].ID, "known", true, "ann"))
		if err := b.NoteCause(b.Context(), "none", "x", false, "ann"); err == nil {
			b.Error("a cause that is not there was noted")
		}
		var seen int
		q := store.Query{Cause: causes[1].ID, Limit: 150}
		for {
			page, next, err := b.Letters(b.Context(), q)
			must(b.T, err)
			seen += len(page)
			if q.Cursor = next; next == "" {
				break
			}
		}
		if seen != 400 {
			b.Errorf("pages told %d letters, want 400", seen)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add("points", "e", "dlq-error", []byte("boom"))
	f.Add("\xff\x00", "", "__dlq.errors.message", []byte("\x00\xff"))
	f.Fuzz(func(t *testing.T, group, event, key string, value []byte) {
		l := read(kafka.Record{Topic: kafka.DeadLetters, Value: value, Headers: []outbox.Header{
			header("dlq-group", group), header("ce_id", event), {Key: key, Value: value},
		}})
		for _, text := range []string{l.Group, l.EventID, l.Type, l.Topic, l.Last.Kind, l.Last.Error, l.Cause, l.ID} {
			if strings.ContainsRune(text, 0) || strings.ToValidUTF8(text, "") != text {
				t.Errorf("%q fits no text column", text)
			}
		}
	})
}

// Every filter finds what it should and nothing else, on both databases, alone and together with the others.
func TestFilters(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		odd := dead("inventory", "e-odd", 7, 5000, "malformed-order", `100%_of "it" is ODD`)
		odd.Key = []byte(strings.Repeat("k", 300) + "'")
		odd.Headers[1] = header("ce_type", "some.Type")
		odd.Headers[3] = header("dlq-topic", "some-topic")
		b.collect(odd, dead("points", "e-1", 8, 1000, "failed", "plain"))
		want := b.all(store.Query{Group: "inventory"})[0]
		whole := store.Query{
			Cause: want.Cause, Group: "inventory", Topic: "some-topic", Type: "some.Type", Kind: "malformed-order", Key: string(odd.Key),
			Text: `%_OF "it" is odd`, After: 5000, Before: 5001, State: letter.Dead,
		}
		for name, q := range map[string]store.Query{
			"all": whole, "cause": {Cause: whole.Cause}, "topic": {Topic: whole.Topic}, "type": {Type: whole.Type}, "kind": {Kind: whole.Kind},
			"key": {Key: whole.Key}, "text": {Text: whole.Text}, "after": {After: whole.After}, "before": {Before: 5001, After: 1001},
		} {
			if found := b.all(q); len(found) != 1 || found[0].ID != want.ID {
				t.Errorf("%s finds %d letters", name, len(found))
			}
		}
		for name, q := range map[string]store.Query{
			"key": {Key: strings.Repeat("k", 300)}, "text": {Text: "100_"}, "before": {Before: 1000}, "state": {State: letter.Applied},
		} {
			if found := b.all(q); len(found) != 0 {
				t.Errorf("%s finds %d letters, want none", name, len(found))
			}
		}
	})
}

// Whatever a record is, the letter is stored, as large as topics allow and with headers as odd as they come.
func TestAnyRecordIsStored(t *testing.T) {
	t.Parallel()
	each(t, func(b bundle) {
		huge := strings.Repeat("\xff\x00h", 100_000)
		records := map[string]kafka.Record{
			"large":        {Value: bytes.Repeat([]byte{0xff, 0}, outbox.MaxLetterBytes/2)},
			"empty key":    {Key: []byte{}},
			"null":         {},
			"huge key":     {Key: []byte(huge)},
			"huge headers": {Headers: []kafka.Header{header("ce_id", huge), header("ce_type", huge), header("dlq-group", huge), header("dlq-topic", huge), header("dlq-error-kind", huge), header("dlq-error", huge)}},
			"others'":      {Headers: []kafka.Header{header("kafka_dlt-original-topic", huge), header("kafka_dlt-exception-fqcn", huge), header("kafka_dlt-original-consumer-group", huge)}},
		}
		many := kafka.Record{}
		for i := range 300 {
			many.Headers = append(many.Headers, header(fmt.Sprint("h-", i), "\x00\xff"))
		}
		records["300 headers"] = many
		offset := int64(0)
		for name, r := range records {
			offset++
			r.Topic, r.Offset, r.Time = kafka.DeadLetters, offset, time.UnixMilli(1000)
			if changed := b.collect(r); !changed[0] {
				t.Errorf("%s: not stored", name)
			}
			l := b.all(store.Query{Limit: 1})[0]
			if !bytes.Equal(l.Value, r.Value) || (l.Value == nil) != (r.Value == nil) || !bytes.Equal(l.Key, r.Key) || (l.Key == nil) != (r.Key == nil) {
				t.Errorf("%s: its key or value is not as it came", name)
			}
		}
		if n := len(b.all(store.Query{})); n != len(records) {
			t.Errorf("%d letters of %d records", n, len(records))
		}
	})
}
