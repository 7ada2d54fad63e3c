package event_test

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/floodgate-dev/floodgate/proto/event"
)

// page is what docs/events.md says.
type page struct {
	topics   []string
	sections map[string]section // by message
}

// section is what it says of one message.
type section struct {
	topic    string
	fields   []string
	examples []string
}

var (
	topicHeading   = regexp.MustCompile("^## `([^`]+)`$")
	messageHeading = regexp.MustCompile("^### `([^`]+)`$")
	fieldRow       = regexp.MustCompile("^\\| `([^`]+)` \\|")
	example        = regexp.MustCompile("(?ms)^```json\n(.*?)^```$")
)

func readPage(t *testing.T) page {
	t.Helper()
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	p := page{sections: map[string]section{}}
	var topic string
	for part := range strings.SplitSeq("\n"+string(text), "\n##") {
		heading, body, _ := strings.Cut("##"+part, "\n")
		switch m := messageHeading.FindStringSubmatch(heading); {
		case m != nil:
			if _, twice := p.sections[m[1]]; twice {
				t.Errorf("%s is described twice", m[1])
			}
			p.sections[m[1]] = sectionOf(topic, body)
		case strings.Contains(body, "```json"):
			t.Errorf("under %q stands an example of no message", heading)
		}
		if !strings.HasPrefix(heading, "###") {
			topic = ""
		}
		if m := topicHeading.FindStringSubmatch(heading); m != nil {
			topic = m[1]
			p.topics = append(p.topics, topic)
		}
	}
	return p
}

func sectionOf(topic, body string) section {
	s := section{topic: topic}
	for line := range strings.Lines(body) {
		if m := fieldRow.FindStringSubmatch(line); m != nil {
			s.fields = append(s.fields, m[1])
		}
	}
	for _, m := range example.FindAllStringSubmatch(body, -1) {
		s.examples = append(s.examples, m[1])
	}
	return s
}

// words are the messages of Floodgate: events are those that are part of no other message and of no call.
func words() (events, parts []protoreflect.MessageDescriptor) {
	inner := map[protoreflect.FullName]bool{}
	var all []protoreflect.MessageDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "floodgate.") {
			return true
		}
		for s := range descriptors(f.Services()) {
			for m := range descriptors(s.Methods()) {
				inner[m.Input().FullName()], inner[m.Output().FullName()] = true, true
			}
		}
		for m := range descriptors(f.Messages()) {
			all = append(all, m)
			for field := range descriptors(m.Fields()) {
				if field.Message() != nil {
					inner[field.Message().FullName()] = true
				}
			}
		}
		return true
	})
	for _, m := range all {
		if !inner[m.FullName()] {
			events = append(events, m)
		}
	}
	return events, partsOf(events)
}

// partsOf are the messages within events, each once.
func partsOf(events []protoreflect.MessageDescriptor) (parts []protoreflect.MessageDescriptor) {
	seen := map[protoreflect.FullName]bool{}
	var visit func(protoreflect.MessageDescriptor)
	visit = func(m protoreflect.MessageDescriptor) {
		for field := range descriptors(m.Fields()) {
			part := field.Message()
			if part == nil || part.IsMapEntry() || seen[part.FullName()] {
				continue
			}
			seen[part.FullName()] = true
			parts = append(parts, part)
			visit(part)
		}
	}
	for _, e := range events {
		visit(e)
	}
	return parts
}

func descriptors[D any](list interface {
	Len() int
	Get(i int) D
},
) func(yield func(D) bool) {
	return func(yield func(D) bool) {
		for i := range list.Len() {
			if !yield(list.Get(i)) {
				return
			}
		}
	}
}

func TestEveryTopicAndMessageIsDescribed(t *testing.T) {
	t.Parallel()
	p := readPage(t)
	events, parts := words()
	if len(events) < 14 || len(parts) < 4 {
		t.Fatalf("%d events with %d parts were found: the words are not there", len(events), len(parts))
	}
	if !slices.Equal(p.topics, event.Topics()) {
		t.Errorf("described are the topics %v, there are %v", p.topics, event.Topics())
	}
	for _, m := range slices.Concat(events, parts) {
		name := string(m.FullName())
		s, described := p.sections[name]
		if !described {
			t.Errorf("%s is not described", name)
			continue
		}
		delete(p.sections, name)
		isEvent := slices.Contains(events, m)
		if isEvent != (s.topic != "") || isEvent != (len(s.examples) == 1) {
			t.Errorf("%s stands under the topic %q with %d examples; it is an event: %t", name, s.topic, len(s.examples), isEvent)
		}
		var fields []string
		for f := range descriptors(m.Fields()) {
			fields = append(fields, f.JSONName())
		}
		if !slices.Equal(s.fields, fields) {
			t.Errorf("of %s the fields %v are described, it has %v", name, s.fields, fields)
		}
	}
	for name := range p.sections {
		t.Errorf("%s is described and no event knows it", name)
	}
}

// TestEveryExampleIsItsMessage compares each example with what its message is in JSON when no field is left out: so all
// of them stand there, under their right names, and nothing else does.
func TestEveryExampleIsItsMessage(t *testing.T) {
	t.Parallel()
	for name, s := range readPage(t).sections {
		for _, text := range s.examples {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
				if err != nil {
					t.Fatal(err)
				}
				m := mt.New().Interface()
				if err := protojson.Unmarshal([]byte(text), m); err != nil {
					t.Fatal(err)
				}
				whole, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				var written, want any
				if err := errors.Join(json.Unmarshal([]byte(text), &written), json.Unmarshal(whole, &want)); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(written, want) {
					t.Errorf("the example is\n%v\nwith every field it is\n%v", written, want)
				}
				for _, path := range hollow("", want) {
					t.Errorf("%s shows nothing of what it can hold", path)
				}
			})
		}
	}
}

// hollow are the paths of lists, maps and messages that are empty: their own fields would not be seen.
func hollow(path string, value any) (paths []string) {
	switch v := value.(type) {
	case nil:
		return []string{path}
	case []any:
		if len(v) == 0 {
			return []string{path}
		}
		for _, elem := range v {
			paths = append(paths, hollow(path+"[]", elem)...)
		}
	case map[string]any:
		if len(v) == 0 {
			return []string{path}
		}
		for key, elem := range v {
			paths = append(paths, hollow(path+"."+key, elem)...)
		}
	}
	return paths
}
