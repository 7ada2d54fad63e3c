package kafka

import (
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

func batchOf(offsets ...int64) protocol.RecordReader {
	all := make([]protocol.Record, len(offsets))
	for i, o := range offsets {
		all[i] = protocol.Record{Offset: o, Key: protocol.NewBytes([]byte("k")), Value: protocol.NewBytes([]byte("v"))}
	}
	return &protocol.RecordBatch{Records: protocol.NewRecordReader(all...)}
}

func markerAt(offset int64) protocol.RecordReader {
	return &protocol.ControlBatch{Records: protocol.NewRecordReader(protocol.Record{Offset: offset, Key: protocol.NewBytes([]byte{0, 0, 0, 1})})}
}

func TestAFetchIsReadFromWhereItWasAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		batches []protocol.RecordReader
		want    []int64
		next    int64
	}{
		"Plain":                     {[]protocol.RecordReader{batchOf(5, 6), batchOf(7)}, []int64{5, 6, 7}, 8},
		"ABatchThatBeginsBefore":    {[]protocol.RecordReader{batchOf(3, 4, 5, 6)}, []int64{5, 6}, 7},
		"AMarkerBetween":            {[]protocol.RecordReader{batchOf(5), markerAt(6), batchOf(7)}, []int64{5, 7}, 8},
		"AMarkerAtTheEnd":           {[]protocol.RecordReader{markerAt(5)}, nil, 6},
		"WhatFollowsWasCompacted":   {[]protocol.RecordReader{batchOf(3, 4)}, nil, 6},
		"TheFirstOnesWereCompacted": {[]protocol.RecordReader{batchOf(9)}, []int64{9}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, next, err := records("things", ask{place: place{"x.things", 2}, from: 5}, &protocol.RecordStream{Records: c.batches})
			if err != nil || next != c.next || len(got) != len(c.want) {
				t.Fatalf("%d records, next %d, %v; want %v and %d", len(got), next, err, c.want, c.next)
			}
			for i, r := range got {
				if r.Offset != c.want[i] || r.Topic != "things" || r.Partition != 2 || string(r.Key) != "k" || string(r.Value) != "v" {
					t.Errorf("record %d is %+v, want offset %d", i, r, c.want[i])
				}
			}
		})
	}
}

// Requests do not chase each other: what is busy is waited for, what brought little is followed after a pace, and two
// that wait at the broker end together and become one.
func TestAFeedGathersWhoAsks(t *testing.T) {
	t.Parallel()
	f := newFeed(&Consumer{})
	if f.due() < time.Minute {
		t.Error("a request is due though nobody asked")
	}
	for id := range 3 {
		f.asked = append(f.asked, ask{place: place{"t", id}, leader: id % 2})
	}
	if f.due() > 0 {
		t.Error("the first request waits")
	}
	by := f.take()
	if len(by) != 2 || len(by[0]) != 2 || len(by[1]) != 1 || len(f.asked) != 0 {
		t.Fatalf("requests for %v", by)
	}
	if first, second := f.begin(), f.begin(); first != fetchWait || second > first {
		t.Errorf("the first waits %v at the broker, the second %v", first, second)
	}
	answers := make([]answered, 2)
	for i := range answers {
		a := by[0][i]
		a.answer = make(chan answer, 1)
		answers[i] = answered{a, answer{records: make([]Record, 1)}}
	}
	f.deliver(answers)
	if f.open != 1 || f.rounds.coming.Load() != 2 {
		t.Errorf("%d requests are open, %d partitions come; want 1 and 2", f.open, f.rounds.coming.Load())
	}
	f.asked = append(f.asked, answers[0].ask)
	delete(f.busy, answers[0].place)
	if d := f.due(); d <= fetchPace || d > straggle {
		t.Errorf("the next is due in %v, though a partition has records in hand", d)
	}
	f.asked = append(f.asked, answers[1].ask)
	delete(f.busy, answers[1].place)
	if d := f.due(); d <= 0 || d > fetchPace {
		t.Errorf("the next is due in %v, want a pace", d)
	}
	answers[0].records = make([]Record, fetchLarge)
	answers[0].ask.answer, answers[1].ask.answer = make(chan answer, 1), make(chan answer, 1)
	f.busy = map[place]bool{}
	f.deliver(answers)
	clear(f.busy)
	if f.due() > 0 {
		t.Error("after a large answer the next request waits")
	}
}
