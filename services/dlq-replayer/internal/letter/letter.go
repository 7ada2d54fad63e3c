// Package letter says what a dead letter is, when two of them are one, and which have one cause.
package letter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// Header is one header of the record, bytes as they came.
type Header struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// Letter is a record that a group gave up. Key, Value and Headers are the record's own, byte for byte; a nil Key or
// Value is null.
type Letter struct {
	ID      string // names it for good; see Identify
	Group   string
	EventID string // "" where the record has none, or its bytes could not be read
	Type    string // of the event, "" for none
	Raw     bool   // its bytes could not be read

	// Where the group read it last.
	Topic     string
	Partition int
	Offset    int64

	Key, Value []byte
	Headers    []Header
	Omitted    int // bytes that no topic would take

	State  State
	Deaths int // how often it died
	Cause  string
	Last   Failure // of its newest death

	CollectedMS int64 // unix ms, by the replayer's database
	Revision    int   // how often its value was mended; 0 is as it came
	Rehearsed   int   // the newest revision that a rehearsal found fit to be applied
}

// MaxWord is how many bytes of a group, topic, type, event id or kind of error are kept to find letters by.
const MaxWord = 300

// Failure is one death of a letter. Times are unix ms by the consumer's database.
type Failure struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	Attempts  int    `json:"attempts"`
	FirstMS   int64  `json:"firstFailedMs"`
	LastMS    int64  `json:"lastFailedMs"`
	Kind      string `json:"errorKind"`
	Error     string `json:"error"`
	Via       Via    `json:"via,omitempty"`
}

// Via says how a death was told.
type Via string

// The ways: the group's own dead letter, a replay that failed again, and an import from another replayer.
const (
	ViaGroup  Via = ""
	ViaReplay Via = "replay"
	ViaImport Via = "import"
)

// State is where a letter stands.
type State string

// The states of a letter.
const (
	Dead        State = "dead"        // its effects are missing
	Quarantined State = "quarantined" // somebody set it aside: no job takes it until it is restored
	Discarded   State = "discarded"   // somebody decided that nobody needs it
	Applied     State = "applied"     // a replay applied it, or found that it was applied
)

// Known says that s is one of them.
func (s State) Known() bool { return s == Dead || s == Quarantined || s == Discarded || s == Applied }

// Identify names a letter by what makes two deaths one letter: the group and the event; where there is no event that can
// be read, the group and the place of the record.
func Identify(l Letter) string {
	name := fmt.Sprintf("event\x00%s\x00%s", l.Group, l.EventID)
	if l.Raw || l.EventID == "" {
		name = fmt.Sprintf("place\x00%s\x00%s\x00%d\x00%d", l.Group, l.Topic, l.Partition, l.Offset)
	}
	return short(name)
}

// short is 128 bits of a hash, in hex: enough that two never meet.
func short(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// What differs between two failures of one cause. The order matters: the longest forms come first, or their parts would be
// taken for something else.
var varying = []struct {
	form *regexp.Regexp
	word string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?`), "<time>"},
	{regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<id>"},
	{regexp.MustCompile(`(?i)\b0x[0-9a-f]+\b`), "<n>"},
	{regexp.MustCompile(`(?i)\b[0-9a-f]*[0-9][0-9a-f]*[a-f][0-9a-f]{6,}\b|(?i)\b[a-f][0-9a-f]*[0-9][0-9a-f]{6,}\b`), "<id>"},
	{regexp.MustCompile(`"[^"]*"`), "<text>"},
	{regexp.MustCompile(`[-+]?\d+(\.\d+)?`), "<n>"},
}

// Message is an error's text without what differs from one letter to the next: ids, times, numbers and quoted text.
func Message(text string) string {
	for _, v := range varying {
		text = v.form.ReplaceAllString(text, v.word)
	}
	return strings.Join(strings.Fields(text), " ")
}

// Cause names what letters of one group died of: the same group, the same kind of error, the same message.
func Cause(group, kind, text string) string {
	return short("cause\x00" + group + "\x00" + kind + "\x00" + Message(text))
}
