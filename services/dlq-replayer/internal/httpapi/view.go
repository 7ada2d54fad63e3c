package httpapi

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/floodgate-dev/floodgate/proto/event"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

type causeView struct {
	ID          string    `json:"id"`
	Group       string    `json:"group"`
	Kind        string    `json:"kind"`
	Message     string    `json:"message"`
	Dead        int64     `json:"dead"`
	LastHour    int64     `json:"lastHour"`
	FirstSeenAt time.Time `json:"firstSeenAt"`
	LastSeenAt  time.Time `json:"lastSeenAt"`
	Newest      string    `json:"newest"`
	Note        string    `json:"note,omitempty"`
	Muted       bool      `json:"muted"`
}

func viewCause(c store.Cause) causeView {
	return causeView{
		c.ID, c.Group, c.Kind, c.Message, c.Dead, c.LastHour, moment(c.FirstMS), moment(c.LastMS), c.Newest, c.Note, c.Muted,
	}
}

// letterView is a letter as lists show it.
type letterView struct {
	ID            string       `json:"id"`
	State         letter.State `json:"state"`
	Group         string       `json:"group"`
	Topic         string       `json:"topic"`
	Partition     int          `json:"partition"`
	Offset        int64        `json:"offset"`
	EventID       string       `json:"eventId,omitempty"`
	Type          string       `json:"type,omitempty"`
	Raw           bool         `json:"raw"`
	Key           *bytesView   `json:"key"`
	Cause         string       `json:"cause"`
	Deaths        int          `json:"deaths"`
	Attempts      int          `json:"attempts"`
	FirstFailedAt time.Time    `json:"firstFailedAt"`
	LastFailedAt  time.Time    `json:"lastFailedAt"`
	ErrorKind     string       `json:"errorKind"`
	Error         string       `json:"error"`
	CollectedAt   time.Time    `json:"collectedAt"`
	Revision      int          `json:"revision"`  // how often its value was mended
	Rehearsed     int          `json:"rehearsed"` // the newest revision that a rehearsal found fit
}

func viewLetter(l letter.Letter) letterView {
	return letterView{
		l.ID, l.State, l.Group, l.Topic, l.Partition, l.Offset, l.EventID, l.Type, l.Raw, viewBytes(l.Key), l.Cause, l.Deaths,
		l.Last.Attempts, moment(l.Last.FirstMS), moment(l.Last.LastMS), l.Last.Kind, l.Last.Error, moment(l.CollectedMS), l.Revision, l.Rehearsed,
	}
}

// wholeView is a letter with all that is known of it.
type wholeView struct {
	letterView

	Headers      []headerView    `json:"headers"`
	Value        *bytesView      `json:"value"`
	Masked       bool            `json:"masked"`            // the caller's roles do not show the bytes, nor fields that the schema hides
	Decoded      json.RawMessage `json:"decoded,omitempty"` // the value by its type, where it decodes
	DecodeError  string          `json:"decodeError,omitempty"`
	OmittedBytes int             `json:"omittedBytes,omitempty"`
	TraceID      string          `json:"traceId,omitempty"`
	Failures     []failureView   `json:"failures"`
	Replays      []replayedView  `json:"replays"`
	Edits        []editView      `json:"edits"`
}

// editView is one mending. Before and after are by the letter's type where they decode.
type editView struct {
	Revision int             `json:"revision"`
	At       time.Time       `json:"at"`
	By       string          `json:"by"`
	Reason   string          `json:"reason"`
	Before   json.RawMessage `json:"before,omitempty"`
	After    json.RawMessage `json:"after,omitempty"`
}

func viewEdit(eventType string, e store.Edit, masked bool) editView {
	v := editView{Revision: e.Revision, At: moment(e.AtMS), By: e.Who, Reason: e.Reason}
	v.Before, _ = decoded(letter.Letter{Type: eventType, Value: e.Before}, masked) // what does not decode is left out
	v.After, _ = decoded(letter.Letter{Type: eventType, Value: e.After}, masked)
	return v
}

type headerView struct {
	Key   string     `json:"key"`
	Value *bytesView `json:"value"`
}

type failureView struct {
	Topic         string    `json:"topic"`
	Partition     int       `json:"partition"`
	Offset        int64     `json:"offset"`
	Attempts      int       `json:"attempts"`
	FirstFailedAt time.Time `json:"firstFailedAt"`
	LastFailedAt  time.Time `json:"lastFailedAt"`
	ErrorKind     string    `json:"errorKind"`
	Error         string    `json:"error"`
	Via           string    `json:"via,omitempty"` // replay or import, where the group's dead letter did not tell it
}

func viewWhole(l letter.Letter, failures []letter.Failure, masked bool) wholeView {
	v := wholeView{letterView: viewLetter(l), Headers: []headerView{}, Value: viewBytes(l.Value), OmittedBytes: l.Omitted, Failures: []failureView{}, Replays: []replayedView{}, Edits: []editView{}}
	for _, h := range l.Headers {
		v.Headers = append(v.Headers, headerView{strings.ToValidUTF8(h.Key, "�"), viewBytes(h.Value)})
		if h.Key == "traceparent" {
			v.TraceID = traceID(string(h.Value))
		}
	}
	v.Decoded, v.DecodeError = decoded(l, masked)
	if v.Masked = masked; masked {
		v.Value = nil // its bytes hold what the schema hides
	}
	for _, f := range failures {
		v.Failures = append(v.Failures, failureView{f.Topic, f.Partition, f.Offset, f.Attempts, moment(f.FirstMS), moment(f.LastMS), f.Kind, f.Error, string(f.Via)})
	}
	return v
}

// decoded is a letter's value by its type, or why it cannot be read so.
func decoded(l letter.Letter, masked bool) (json.RawMessage, string) {
	m, err := event.Decode(l.Type, l.Value)
	if err != nil {
		return nil, strings.ToValidUTF8(err.Error(), "�")
	}
	if masked {
		mask(m.ProtoReflect())
	}
	text, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return nil, err.Error()
	}
	return text, ""
}

// mask puts stars into every field that the schema marks debug_redact; what holds no text is taken out.
func mask(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		options, _ := f.Options().(*descriptorpb.FieldOptions)
		switch {
		case options.GetDebugRedact() && f.Kind() == protoreflect.StringKind && f.Cardinality() != protoreflect.Repeated:
			m.Set(f, protoreflect.ValueOfString("***"))
		case options.GetDebugRedact():
			m.Clear(f)
		case f.IsList() && f.Message() != nil:
			for i := range value.List().Len() {
				mask(value.List().Get(i).Message())
			}
		case f.IsMap() && f.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, one protoreflect.Value) bool {
				mask(one.Message())
				return true
			})
		case f.Message() != nil && !f.IsMap():
			mask(value.Message())
		}
		return true
	})
}

// traceID is the second part of a traceparent.
func traceID(parent string) string {
	if parts := strings.Split(parent, "-"); len(parts) == 4 && len(parts[1]) == 32 {
		return parts[1]
	}
	return ""
}

// bytesView shows bytes: as text where they are text, and always in hex.
type bytesView struct {
	Text *string `json:"text,omitempty"`
	Hex  string  `json:"hex"`
}

// viewBytes is nil for null.
func viewBytes(b []byte) *bytesView {
	if b == nil {
		return nil
	}
	v := &bytesView{Hex: hex.EncodeToString(b)}
	if utf8.Valid(b) {
		text := string(b)
		v.Text = &text
	}
	return v
}

func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
