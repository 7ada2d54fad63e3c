package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/live"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/store"
)

// maxSelection is a body that names as many letters as a selection may have.
const maxSelection = 8 << 20

// selection is what a request says that it is about.
type selection struct {
	IDs    []string          `json:"ids,omitempty"`
	Filter map[string]string `json:"filter,omitempty"` // as in the address of a list
}

func (in selection) read() (store.Selection, error) {
	sel := store.Selection{IDs: in.IDs}
	if in.Filter != nil {
		q, err := filtered(store.Query{}, in.Filter)
		if err != nil {
			return sel, err
		}
		sel.Filter = &q
	}
	for _, id := range in.IDs {
		if strings.ContainsRune(id, 0) {
			return sel, invalid("an id holds a NUL")
		}
	}
	return sel, sel.Check()
}

// jobView is a job. Counts has every outcome and adds up to total.
type jobView struct {
	ID            string          `json:"id"`
	Mode          replay.Mode     `json:"mode"`
	State         replay.State    `json:"state"`
	Why           string          `json:"why,omitempty"` // it paused
	Reason        string          `json:"reason"`
	By            string          `json:"by"`
	Selection     json.RawMessage `json:"selection,omitempty"` // not in lists: it may name 100,000 letters
	Rate          int             `json:"rate"`
	BudgetPercent int             `json:"budgetPercent"`
	Total         int             `json:"total"`
	Counts        replay.Counts   `json:"counts"`
	CreatedAt     time.Time       `json:"createdAt"`
	EndedAt       *time.Time      `json:"endedAt,omitempty"`
}

func viewJob(j replay.Job) jobView {
	v := jobView{
		ID: j.ID, Mode: j.Mode, State: j.State, Why: j.Why, Reason: j.Reason, By: j.By, Rate: j.Rate, BudgetPercent: j.Budget,
		Total: j.Counts.Total(), Counts: j.Counts, CreatedAt: moment(j.CreatedMS),
	}
	if j.EndedMS > 0 {
		ended := moment(j.EndedMS)
		v.EndedAt = &ended
	}
	return v
}

// replayedView is one letter in one job.
type replayedView struct {
	Job        string         `json:"job"`
	Mode       replay.Mode    `json:"mode"`
	Letter     string         `json:"letter"`
	Outcome    replay.Outcome `json:"outcome"`
	Asks       int            `json:"asks"` // how often it was sent
	SentAt     *time.Time     `json:"sentAt,omitempty"`
	AnsweredAt *time.Time     `json:"answeredAt,omitempty"`
	ErrorKind  string         `json:"errorKind,omitempty"`
	Error      string         `json:"error,omitempty"`
}

func viewReplayed(r store.Replayed) replayedView {
	v := replayedView{Job: r.Job, Mode: r.Mode, Letter: r.Letter, Outcome: r.Outcome, Asks: r.Asks, ErrorKind: r.ErrorKind, Error: r.Error}
	set(r.SentMS, &v.SentAt)
	set(r.AnsweredMS, &v.AnsweredAt)
	return v
}

func set(ms int64, at **time.Time) {
	if ms > 0 {
		t := moment(ms)
		*at = &t
	}
}

// order is a job as it is asked for.
type order struct {
	Mode          replay.Mode `json:"mode"`
	Selection     selection   `json:"selection"`
	Reason        string      `json:"reason"`
	Rate          int         `json:"rate"`          // 0 for the default
	BudgetPercent *int        `json:"budgetPercent"` // null for the default
}

func (s server) createJob(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
	var in order
	if err := body(w, r, maxSelection, &in); err != nil {
		return nil, err
	}
	j, err := s.create(r.Context(), in, who)
	if err != nil {
		return nil, err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", "/api/v1/jobs/"+j.ID)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(viewJob(j)) // the caller left
	return nil, nil                           //nolint:nilnil // it was answered
}

// create makes a job of an order; what the order leaves out has its default.
func (s server) create(ctx context.Context, in order, who auth.Caller) (replay.Job, error) {
	j := replay.Job{Mode: in.Mode, Reason: strings.TrimSpace(in.Reason), By: who.Subject, Rate: in.Rate, Budget: replay.DefaultBudget}
	if in.BudgetPercent != nil {
		j.Budget = *in.BudgetPercent
	}
	if j.Rate == 0 {
		j.Rate = replay.DefaultRate
		if j.Mode == replay.Rehearse {
			j.Rate = replay.RehearsalRate
		}
	}
	if err := j.Check(); err != nil {
		return j, invalid(err.Error())
	}
	if strings.ContainsRune(j.Reason, 0) {
		return j, invalid("reason holds a NUL")
	}
	sel, err := in.Selection.read()
	if err != nil {
		return j, err
	}
	return s.Letters.CreateJob(ctx, j, sel, s.Groups)
}

func (s server) jobs(_ http.ResponseWriter, r *http.Request, _ auth.Caller) (any, error) {
	if err := onlyParameters(r, "state", "cursor", "limit"); err != nil {
		return nil, err
	}
	limit, err := number(r, "limit", 50, 500)
	if err != nil {
		return nil, err
	}
	state := replay.State(r.URL.Query().Get("state"))
	switch state {
	case "", replay.Running, replay.Paused, replay.Cancelled, replay.Done:
	default:
		return nil, invalid("state is running, paused, cancelled or done")
	}
	found, err := s.Letters.Jobs(r.Context(), state, r.URL.Query().Get("cursor"), limit)
	if err != nil {
		return nil, err
	}
	out := struct {
		Jobs []jobView `json:"jobs"`
		Next string    `json:"next,omitempty"`
	}{Jobs: []jobView{}}
	for _, j := range found {
		out.Jobs = append(out.Jobs, viewJob(j))
	}
	if len(found) == limit {
		out.Next = found[limit-1].ID
	}
	return out, nil
}

// onlyParameters refuses what the address says beside names, for a filter with a slip in its name must not seem to filter, and
// values that are no text.
func onlyParameters(r *http.Request, names ...string) error {
	for name, values := range r.URL.Query() {
		if !slices.Contains(names, name) {
			return invalid(fmt.Sprintf("%q is no parameter here: there are %s", name, strings.Join(names, ", ")))
		}
		if !isText(values[0]) {
			return invalid(name + " holds a NUL or bytes that are no text")
		}
	}
	return nil
}

func number(r *http.Request, name string, missing, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, invalid(fmt.Sprintf("%s is a number from 1 to %d", name, most))
	}
	return n, nil
}

func (s server) job(_ http.ResponseWriter, r *http.Request, _ auth.Caller) (any, error) {
	j, err := s.Letters.Job(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	v := viewJob(j)
	v.Selection = json.RawMessage(j.Selection)
	return v, nil
}

func (s server) jobLetters(_ http.ResponseWriter, r *http.Request, _ auth.Caller) (any, error) {
	if err := onlyParameters(r, "outcome", "cursor", "limit"); err != nil {
		return nil, err
	}
	limit, err := number(r, "limit", 50, 500)
	if err != nil {
		return nil, err
	}
	var after int64
	if text := r.URL.Query().Get("cursor"); text != "" {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, store.ErrCursor
		}
	}
	outcome := replay.Outcome(r.URL.Query().Get("outcome"))
	if outcome != "" && !slices.Contains(replay.Outcomes, outcome) {
		return nil, invalid(fmt.Sprintf("outcome is one of %v", replay.Outcomes))
	}
	if _, err := s.Letters.Job(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	found, err := s.Letters.JobLetters(r.Context(), r.PathValue("id"), outcome, after, limit)
	if err != nil {
		return nil, err
	}
	out := struct {
		Letters []replayedView `json:"letters"`
		Next    string         `json:"next,omitempty"`
	}{Letters: []replayedView{}}
	for _, l := range found {
		out.Letters = append(out.Letters, viewReplayed(l))
	}
	if len(found) == limit {
		out.Next = strconv.FormatInt(found[limit-1].N, 10)
	}
	return out, nil
}

func (s server) act(action replay.Action) func(http.ResponseWriter, *http.Request, auth.Caller) (any, error) {
	return func(w http.ResponseWriter, r *http.Request, who auth.Caller) (any, error) {
		var in struct {
			Reason string `json:"reason"`
		}
		if r.ContentLength != 0 {
			if err := body(w, r, maxBody, &in); err != nil {
				return nil, err
			}
		}
		if strings.ContainsRune(in.Reason, 0) {
			return nil, invalid("reason holds a NUL")
		}
		j, err := s.Letters.Act(r.Context(), r.PathValue("id"), action, who.Subject, in.Reason)
		if err != nil {
			return nil, err
		}
		return viewJob(j), nil
	}
}

// look is how often a live stream looks for news.
const look = 300 * time.Millisecond

// jobEvents tells how a job goes as server-sent events, until it is through with all its letters.
func (s server) jobEvents(w http.ResponseWriter, r *http.Request, _ auth.Caller) (any, error) {
	j, err := s.Letters.Job(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	live.Stream(w, r, look, func() (event string, data []byte, more bool) {
		if j, err = s.Letters.Job(r.Context(), j.ID); err != nil {
			return "", nil, false
		}
		data, err = json.Marshal(viewJob(j))
		return "job", data, err == nil && j.Open() > 0
	})
	return nil, nil //nolint:nilnil // it was answered
}
