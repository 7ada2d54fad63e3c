package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	wire "github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/floodgate-dev/floodgate/pkg/outbox"
)

const (
	fetchWait  = 200 * time.Millisecond // the broker answers after so long when there is nothing, so that parked records get their turn
	fetchPace  = 20 * time.Millisecond  // after a fetch that brought little: what comes meanwhile shares a transaction
	fetchMerge = 5 * time.Millisecond   // after one that brought nothing: what else ends now is asked for in one request again
	fetchLarge = 500                    // records; after so many the next fetch follows at once
	straggle   = 100 * time.Millisecond // a fetch waits so long for the partitions that have records of the last one in hand
	fetchBytes = outbox.MaxBytes        // of one partition; a record that is larger comes all the same
)

// feed fetches for the partitions of a member: for all that ask, in one request to each broker, and nothing that nobody
// asked for. What a member is too busy to apply stays with the broker and comes with a later request. So the busier
// the member is, the more a request brings.
type feed struct {
	*Consumer
	asks chan ask

	// What follows is the goroutine's of run.
	busy  map[place]bool // partitions that were answered and have not asked again
	open  int            // requests that wait for their answer
	ends  time.Time      // when the last of them ends
	pace  time.Time      // no request before
	wait  time.Time      // no request before while partitions are busy
	asked []ask
}

// ask is a partition's wish for records from an offset on.
type ask struct {
	place      // the topic with the prefix
	leader int // the broker to ask
	from   int64
	answer chan answer // holds one
}

// answer is what the broker has for one partition, if anything.
type answer struct {
	records []Record
	next    int64 // where to go on
	end     int64 // of the log
	err     error
}

func newFeed(c *Consumer) *feed {
	return &feed{Consumer: c, asks: make(chan ask), busy: map[place]bool{}}
}

// fetch waits for records of p from an offset on, or for there being none.
func (f *feed) fetch(ctx context.Context, p *partition, from int64) (answer, error) {
	a := ask{place: place{p.Kafka.TopicPrefix + p.topic, p.id}, leader: p.leader, from: from, answer: make(chan answer, 1)}
	select {
	case f.asks <- a:
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	select {
	case got := <-a.answer:
		return got, got.err
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// run answers asks until ctx ends. Partitions that ask while a request waits at the broker get one of their own.
func (f *feed) run(ctx context.Context) {
	var requests sync.WaitGroup
	defer requests.Wait()
	answers := make(chan []answered)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		d := f.due()
		if d <= 0 {
			for _, asks := range f.take() {
				wait := f.begin()
				requests.Go(func() {
					done := f.request(ctx, asks, wait)
					select {
					case answers <- done:
					case <-ctx.Done():
					}
				})
			}
			continue
		}
		timer.Reset(d)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case a := <-f.asks:
			f.asked = append(f.asked, a)
			delete(f.busy, a.place)
		case done := <-answers:
			f.deliver(done)
		}
	}
}

// due is when the next request should begin; not positive for now.
func (f *feed) due() time.Duration {
	switch {
	case len(f.asked) == 0:
		return time.Hour
	case len(f.busy) > 0 && f.wait.After(f.pace):
		return time.Until(f.wait)
	}
	return time.Until(f.pace)
}

// take is who asked, by the broker to ask.
func (f *feed) take() map[int][]ask {
	all := map[int][]ask{}
	for _, a := range f.asked {
		all[a.leader] = append(all[a.leader], a)
	}
	f.asked = nil
	clear(f.busy)
	return all
}

// begin is how long the next request may wait at the broker. One that begins while another waits ends with it, so that the
// two become one.
func (f *feed) begin() time.Duration {
	f.open++
	if f.open > 1 {
		return max(fetchMerge, time.Until(f.ends))
	}
	f.ends = time.Now().Add(fetchWait)
	return fetchWait
}

// answered is an ask with what the broker said to it.
type answered struct {
	ask
	answer
}

// deliver hands out what a request brought.
func (f *feed) deliver(done []answered) {
	f.open--
	records, full := 0, int32(0)
	for _, d := range done {
		f.busy[d.place] = true
		if len(d.records) > 0 {
			full++
			records += len(d.records)
		}
	}
	f.rounds.coming.Store(full)
	now := time.Now()
	f.wait = now.Add(straggle)
	switch {
	case records == 0:
		f.pace = now.Add(fetchMerge)
	case records < fetchLarge:
		f.pace = now.Add(fetchPace)
	default:
		f.pace = now
	}
	for _, d := range done {
		d.ask.answer <- d.answer
	}
}

// request asks the broker and has an answer to each ask.
func (f *feed) request(ctx context.Context, asks []ask, wait time.Duration) []answered {
	ctx, cancel := context.WithTimeout(ctx, wait+10*time.Second)
	defer cancel()
	response, err := f.client.Transport.RoundTrip(ctx, f.client.Addr, requestFor(asks, wait))
	if err != nil {
		return failed(asks, err)
	}
	got, is := response.(*wire.Response)
	if !is {
		return failed(asks, fmt.Errorf("the answer to a fetch is %T", response))
	}
	if got.ErrorCode != 0 {
		return failed(asks, kafka.Error(got.ErrorCode))
	}
	parts := map[place]*wire.ResponsePartition{}
	for i := range got.Topics {
		t := &got.Topics[i]
		for j := range t.Partitions {
			parts[place{t.Topic, int(t.Partitions[j].Partition)}] = &t.Partitions[j]
		}
	}
	done := make([]answered, len(asks))
	for i, a := range asks {
		done[i] = answered{a, f.read(a, parts[a.place])}
	}
	return done
}

func failed(asks []ask, err error) []answered {
	done := make([]answered, len(asks))
	for i, a := range asks {
		done[i] = answered{a, answer{err: err}}
	}
	return done
}

// requestFor is one fetch for all asks; brokers serve its partitions in the order given, so those who asked first come first.
func requestFor(asks []ask, wait time.Duration) *wire.Request {
	r := &wire.Request{
		ReplicaID: -1, MaxWaitTime: int32(wait.Milliseconds()), MinBytes: 1, MaxBytes: 8 * fetchBytes, SessionID: -1, SessionEpoch: -1,
	}
	at := map[string]int{}
	for _, a := range asks {
		i, known := at[a.topic]
		if !known {
			i = len(r.Topics)
			at[a.topic] = i
			r.Topics = append(r.Topics, wire.RequestTopic{Topic: a.topic})
		}
		r.Topics[i].Partitions = append(r.Topics[i].Partitions, wire.RequestPartition{
			Partition: int32(a.partition), CurrentLeaderEpoch: -1, FetchOffset: a.from, LogStartOffset: -1, PartitionMaxBytes: fetchBytes,
		})
	}
	return r
}

// read is what one partition's part of the response says.
func (f *feed) read(a ask, part *wire.ResponsePartition) answer {
	if part == nil {
		return answer{err: errors.New("the broker left the partition out")}
	}
	if part.ErrorCode != 0 {
		return answer{err: kafka.Error(part.ErrorCode)}
	}
	out := answer{next: a.from, end: part.HighWatermark}
	if part.RecordSet.Records == nil {
		return out
	}
	out.records, out.next, out.err = records(strings.TrimPrefix(a.topic, f.Kafka.TopicPrefix), a, part.RecordSet.Records)
	return out
}

// records reads all of a partition's records from the asked offset on; a batch begins where its producer began it. The
// markers of transactions are passed over. Where batches came and none of it lies ahead (what was compacted away left its
// offset to its batch), there is nothing at that offset.
func records(topic string, a ask, set protocol.RecordReader) (all []Record, next int64, err error) {
	batches := []protocol.RecordReader{set}
	if stream, is := set.(*protocol.RecordStream); is {
		batches = stream.Records
	}
	next = a.from
	for _, batch := range batches {
		_, marker := batch.(*protocol.ControlBatch)
		for {
			r, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, a.from, err
			}
			record, err := recordOf(topic, a.partition, r)
			if err != nil {
				return nil, a.from, err
			}
			if record.Offset < next {
				continue
			}
			next = record.Offset + 1
			if !marker {
				all = append(all, record)
			}
		}
	}
	return all, max(next, a.from+1), nil
}
