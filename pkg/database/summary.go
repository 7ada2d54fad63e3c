package database

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	// mostStatements bounds the texts whose summary is remembered.
	mostStatements = 1000
	// mostSummaries bounds how many series the statements of a service can make.
	mostSummaries = 200
	// mostTargets bounds a summary.
	mostTargets = 3
)

// statement is what is said of all statements with one summary: "INSERT orders".
type statement struct {
	summary string
	base    []attribute.KeyValue
	ok      []metric.RecordOption
	batch   func() *statement // the same, sent with others behind it
}

func (s *statement) attributes() []attribute.KeyValue {
	operation, _, _ := strings.Cut(strings.TrimPrefix(s.summary, "BATCH "), " ")
	if strings.HasPrefix(s.summary, "BATCH ") {
		operation = "BATCH " + operation
	}
	return append(slices.Clone(s.base), attribute.String("db.query.summary", s.summary), attribute.String("db.operation.name", operation))
}

func (s *statement) together() *statement { return s.batch() }

// catalogue knows the summaries of statements. Ours are few and their texts do not depend on how many rows they are
// about, so each is read once.
type catalogue struct {
	base    []attribute.KeyValue
	texts   sync.Map // of *statement, by text
	known   atomic.Int64
	mu      sync.Mutex
	summary map[string]*statement // guarded by mu
}

func (c *catalogue) of(text string) *statement {
	if s, ok := c.texts.Load(text); ok {
		return s.(*statement) //nolint:forcetypeassert // nothing else is stored
	}
	s := c.named(summarise(text))
	if c.known.Add(1) <= mostStatements {
		c.texts.Store(strings.Clone(text), s)
	}
	return s
}

// named is the one statement with this summary.
func (c *catalogue) named(summary string) *statement {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.summary == nil {
		c.summary = map[string]*statement{}
	}
	if len(c.summary) >= mostSummaries && c.summary[summary] == nil {
		summary = "_OTHER"
	}
	s := c.summary[summary]
	if s == nil {
		s = &statement{summary: summary, base: c.base}
		s.ok = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(s.attributes()...))}
		s.batch = sync.OnceValue(func() *statement { return c.named("BATCH " + summary) })
		c.summary[summary] = s
	}
	return s
}

// Summary is what metrics and spans call a statement.
func Summary(query string) string { return summarise(query) }

// summarise says in a few words what a statement does and to which tables, as the conventions of OpenTelemetry want it:
// "SELECT orders order_items". What is selected from v, or from another table of the statement's own making, is left out.
func summarise(text string) string {
	var verb, before string
	var targets []string
	own, depth := map[string]bool{}, 0
	words := wordsOf(text)
	for i, w := range words {
		next := ""
		if i+1 < len(words) {
			next = words[i+1]
		}
		upper := strings.ToUpper(w)
		switch {
		case w == "(":
			depth++
		case w == ")":
			depth--
		case verb == "" && depth == 0 && upper == "WITH", upper == "RECURSIVE":
		case verb == "" && depth == 0 && verbs[upper]:
			verb = upper
			if upper == "UPDATE" {
				targets = target(targets, next, own)
			}
		case verb == "" && depth == 0 && (next == "(" || strings.EqualFold(next, "AS")):
			own[strings.ToLower(w)] = true
		case verb == "" && depth == 0 && before == "":
			return upper // BEGIN, COMMIT, PRAGMA: the first word says it
		case upper == "FROM" && before != "DISTINCT", upper == "JOIN", upper == "INTO":
			if i+2 < len(words) && words[i+2] == "(" && upper != "INTO" {
				break // a function
			}
			targets = target(targets, next, own)
		}
		before = upper
	}
	if verb == "" {
		return "_OTHER"
	}
	return strings.Join(append([]string{verb}, targets...), " ")
}

var verbs = map[string]bool{"SELECT": true, "INSERT": true, "UPDATE": true, "DELETE": true, "MERGE": true, "EXPLAIN": true}

// target adds a table, once.
func target(targets []string, name string, own map[string]bool) []string {
	name = strings.ToLower(strings.Trim(name, "\"`"))
	if name == "" || name == "(" || own[name] || slices.Contains(targets, name) || len(targets) == mostTargets || verbs[strings.ToUpper(name)] {
		return targets
	}
	return append(targets, name)
}

// wordsOf are a statement's words and parentheses; strings, comments and signs are left out.
func wordsOf(text string) []string {
	var words []string
	for len(text) > 0 {
		r := rune(text[0])
		end := 1
		switch {
		case strings.HasPrefix(text, "--"):
			end = until(text, "\n")
		case r == '\'':
			end = 1 + until(text[1:], "'")
		case r == '(' || r == ')':
			words = append(words, text[:1])
		case inName(r):
			end = strings.IndexFunc(text, func(r rune) bool { return !inName(r) })
			if end < 0 {
				end = len(text)
			}
			words = append(words, text[:end])
		}
		text = text[end:]
	}
	return words
}

func inName(r rune) bool {
	return r == '_' || r == '"' || r == '`' || r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// until is the length up to and with the end.
func until(text, end string) int {
	if i := strings.Index(text, end); i >= 0 {
		return i + len(end)
	}
	return len(text)
}
