package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/letter"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// because checks the reason that everything that changes something must have.
func because(reason string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return invalid("say in reason why this is done: the audit keeps it")
	case len(reason) > 2000 || strings.ContainsRune(reason, 0):
		return invalid("reason has at most 2,000 bytes, none of them NUL")
	}
	return nil
}

// encode is JSON as bytes of an event's type; the schema refuses what does not fit it.
func encode(eventType string, value []byte) ([]byte, error) {
	typ, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(eventType))
	if err != nil {
		return nil, fmt.Errorf("its type %q is none of this suite's, so it cannot be mended as JSON", eventType)
	}
	m := typ.New().Interface()
	if err := protojson.Unmarshal(value, m); err != nil {
		return nil, fmt.Errorf("the value does not fit %s: %w", eventType, err)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

func (s server) edit(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
	var in struct {
		Value  json.RawMessage `json:"value"`
		Reason string          `json:"reason"`
	}
	if err := body(w, r, maxSelection, &in); err != nil {
		return nil, err
	}
	return s.mendOne(r, who, in.Value, in.Reason)
}

// mendOne gives one letter a new value.
func (s server) mendOne(r *http.Request, who auth.Caller, value []byte, reason string) (any, error) {
	if err := because(reason); err != nil {
		return nil, err
	}
	done, err := s.Letters.Mend(r.Context(), store.Selection{IDs: []string{r.PathValue("id")}}, "edit", who.Subject, reason,
		func(l letter.Letter) ([]byte, error) { return encode(l.Type, value) })
	return one(done, err)
}

// one is the answer of a mending of one letter: what many may be refused, one is told.
func one(done store.Mended, err error) (any, error) {
	switch {
	case errors.Is(err, store.ErrNothing):
		return nil, store.ErrNotFound
	case err != nil:
		return nil, err
	case len(done.Refused) > 0 && done.Refused[0].Why == store.ErrBusy.Error():
		return nil, store.ErrBusy
	case len(done.Refused) > 0:
		return nil, invalid(done.Refused[0].Why)
	}
	return done, nil
}

func (s server) original(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
	var in struct {
		Reason string `json:"reason"`
	}
	if err := body(w, r, maxBody, &in); err != nil {
		return nil, err
	}
	if err := because(in.Reason); err != nil {
		return nil, err
	}
	return one(s.Letters.Original(r.Context(), r.PathValue("id"), who.Subject, in.Reason))
}

func (s server) patch(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
	var in struct {
		Selection selection       `json:"selection"`
		Patch     json.RawMessage `json:"patch"`
		Reason    string          `json:"reason"`
	}
	if err := body(w, r, maxSelection, &in); err != nil {
		return nil, err
	}
	if err := because(in.Reason); err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(in.Patch)
	if err != nil || len(patch) == 0 {
		return nil, invalid(`patch is a JSON Patch (RFC 6902), such as [{"op":"replace","path":"/quantity","value":1}]`)
	}
	sel, err := in.Selection.read()
	if err != nil {
		return nil, err
	}
	return s.Letters.Mend(r.Context(), sel, "patch", who.Subject, in.Reason, func(l letter.Letter) ([]byte, error) {
		before, why := decoded(l, false)
		if why != "" {
			return nil, errors.New(why)
		}
		after, err := patch.Apply(before)
		if err != nil {
			return nil, fmt.Errorf("patch: %w", err)
		}
		return encode(l.Type, after)
	})
}

func (s server) decide(fate string) func(http.ResponseWriter, *http.Request, auth.Caller) (any, error) {
	return func(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
		var in struct {
			Selection selection `json:"selection"`
			Reason    string    `json:"reason"`
		}
		if err := body(w, r, maxSelection, &in); err != nil {
			return nil, err
		}
		if err := because(in.Reason); err != nil {
			return nil, err
		}
		sel, err := in.Selection.read()
		if err != nil {
			return nil, err
		}
		n, err := s.Letters.Decide(r.Context(), fate, sel, who.Subject, in.Reason)
		return map[string]int{"letters": n}, err
	}
}

// parcel is one letter as it is exported and imported: a line of JSON, bytes in base64.
type parcel struct {
	Group     string           `json:"group"`
	EventID   string           `json:"eventId"`
	Type      string           `json:"type"`
	Raw       bool             `json:"raw"`
	Topic     string           `json:"topic"`
	Partition int              `json:"partition"`
	Offset    int64            `json:"offset"`
	Key       []byte           `json:"key"`
	Value     []byte           `json:"value"`
	Headers   []letter.Header  `json:"headers"`
	Omitted   int              `json:"omittedBytes"`
	Failures  []letter.Failure `json:"failures"`        // the newest first
	Edits     []store.Edit     `json:"edits,omitempty"` // what was mended, the newest first; the value is the newest's After
}

func (s server) export(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
	q, err := queryOf(r)
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Has("limit") {
		return nil, invalid("an export has no limit: it is all that the filters find")
	}
	q.Limit = 100
	control := http.NewResponseController(w)
	out := json.NewEncoder(w)
	for first := true; first || q.Cursor != ""; first = false {
		page, next, err := s.Letters.Letters(r.Context(), q)
		switch {
		case err != nil && first:
			return nil, err
		case err != nil:
			panic(http.ErrAbortHandler) // half an export must not look whole
		case first:
			if err := s.Letters.Note(r.Context(), store.Deed{Who: who.Subject, Action: "export", Subject: "letters", Detail: q}); err != nil {
				return nil, err
			}
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		for _, l := range page {
			_, failures, err := s.Letters.Letter(r.Context(), l.ID)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			var edits []store.Edit
			if l.Revision > 0 {
				if edits, err = s.Letters.Edits(r.Context(), l.ID); err != nil {
					panic(http.ErrAbortHandler)
				}
			}
			_ = control.SetWriteDeadline(time.Now().Add(30 * time.Second))
			if err := out.Encode(parcel{
				l.Group, l.EventID, l.Type, l.Raw, l.Topic, l.Partition, l.Offset, l.Key, l.Value, l.Headers, l.Omitted, failures, edits,
			}); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		q.Cursor = next
	}
	return nil, nil //nolint:nilnil // it was answered
}

// Limits of an import.
const (
	maxLine  = 8 << 20 // bytes of one letter
	maxBatch = 8 << 20 // bytes of letters in one transaction
)

func (s server) imports(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
	if err := onlyParameters(r, "reason"); err != nil {
		return nil, err
	}
	reason := r.URL.Query().Get("reason")
	if err := because(reason); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, maxLine)
	control := http.NewResponseController(w)
	var batch []letter.Letter
	history := map[string][]store.Edit{}
	total, stored, fresh, size, n := 0, 0, 0, 0, 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		newly, err := s.Letters.Import(r.Context(), batch, history, who.Subject, reason)
		if err == nil {
			stored, fresh, batch, size = total, fresh+newly, nil, 0
			clear(history)
		}
		return err
	}
	for lines.Scan() {
		n++
		_ = control.SetReadDeadline(time.Now().Add(30 * time.Second))
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		letters, edits, err := unpack(lines.Bytes())
		if err != nil {
			return nil, invalid(fmt.Sprintf("line %d: %v; %d letters before it are stored", n, err, stored))
		}
		total++
		batch = append(batch, letters...)
		if len(edits) > 0 {
			history[letters[0].ID] = edits
		}
		if size += len(lines.Bytes()); size > maxBatch || len(batch) >= 500 {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, invalid(fmt.Sprintf("line %d: %v; %d letters before it are stored", n+1, err, stored))
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return map[string]int{"letters": total, "newDeaths": fresh}, nil
}

// unpack is the letter of one line, once for each of its failures, the oldest first, and what was mended of it.
func unpack(line []byte) (all []letter.Letter, edits []store.Edit, err error) {
	var p parcel
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return nil, nil, err
	}
	if len(p.Failures) == 0 {
		return nil, nil, errors.New("a letter has at least one failure")
	}
	for _, e := range p.Edits {
		if e.Revision < 1 || !isText(e.Who) || !isText(e.Reason) {
			return nil, nil, errors.New("a mending has a revision from 1 and a reason without NUL")
		}
	}
	l := letter.Letter{
		Group: p.Group, EventID: p.EventID, Type: p.Type, Raw: p.Raw, Topic: p.Topic, Partition: p.Partition, Offset: p.Offset,
		Key: p.Key, Value: p.Value, Headers: p.Headers, Omitted: p.Omitted,
	}
	words := []string{l.Group, l.EventID, l.Type, l.Topic}
	for _, f := range p.Failures {
		if strings.ContainsRune(f.Error, 0) {
			return nil, nil, errors.New("an error holds a NUL")
		}
		words = append(words, f.Topic, f.Kind)
	}
	for _, word := range words {
		if strings.ContainsRune(word, 0) || len(word) > letter.MaxWord {
			return nil, nil, fmt.Errorf("a group, topic, type, event id or kind holds a NUL or has more than %d bytes", letter.MaxWord)
		}
	}
	l.ID = letter.Identify(l)
	for i := len(p.Failures) - 1; i >= 0; i-- {
		l.Last = p.Failures[i]
		l.Last.Via = letter.ViaImport
		l.Cause = letter.Cause(l.Group, l.Last.Kind, l.Last.Error)
		all = append(all, l)
	}
	return all, p.Edits, nil
}

// auditView is one entry of the audit.
type auditView struct {
	N       int64           `json:"n"`
	At      time.Time       `json:"at"`
	Who     string          `json:"who"`
	Action  string          `json:"action"`
	Subject string          `json:"subject"`
	Reason  string          `json:"reason,omitempty"`
	Detail  json.RawMessage `json:"detail"`
	Hash    string          `json:"hash"`
}

func viewEntry(e store.Entry) auditView {
	return auditView{e.N, moment(e.AtMS), e.Who, e.Action, e.Subject, e.Reason, e.Detail, e.Hash}
}

func (s server) audit(_ http.ResponseWriter, r *http.Request, _ auth.Caller) (any, error) {
	if err := onlyParameters(r, "cursor", "limit"); err != nil {
		return nil, err
	}
	limit, err := number(r, "limit", 50, 500)
	if err != nil {
		return nil, err
	}
	before, err := number(r, "cursor", 0, 1<<53)
	if err != nil {
		return nil, store.ErrCursor
	}
	found, err := s.Letters.Audit(r.Context(), int64(before), limit)
	if err != nil {
		return nil, err
	}
	out := struct {
		Entries []auditView `json:"entries"`
		Next    string      `json:"next,omitempty"`
	}{Entries: []auditView{}}
	for _, e := range found {
		out.Entries = append(out.Entries, viewEntry(e))
	}
	if len(found) == limit && found[limit-1].N > 1 {
		out.Next = fmt.Sprint(found[limit-1].N)
	}
	return out, nil
}

func (s server) verifyAudit(_ http.ResponseWriter, r *http.Request, _ auth.Caller) (any, error) {
	return s.Letters.VerifyAudit(r.Context())
}
