package dlqreplayer

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/pkg/auth"
	"github.com/floodgate-dev/floodgate/pkg/kafka"
	"github.com/floodgate-dev/floodgate/pkg/servertest"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/httpapi"
	"github.com/floodgate-dev/floodgate/services/dlq-replayer/internal/replay"
)

// terminalOf is a person at the command line.
type terminalOf struct{ *testing.T }

// run runs one command and returns what it printed and how it ended.
func (p terminalOf) run(stdin string, words ...string) (out string, code int) {
	p.Helper()
	cmd := Command()
	var stdout, stderr bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetArgs(words)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(p.Context())
	var coded ended
	switch {
	case err == nil:
		return stdout.String(), 0
	case errors.As(err, &coded):
		code = coded.code
	default:
		code = 1
	}
	return stdout.String() + err.Error(), code
}

// id is the first word of the row of a table that holds text.
func id(t *testing.T, table, text string) string {
	t.Helper()
	for line := range strings.Lines(table) {
		if strings.Contains(line, text) {
			return strings.Fields(line)[0]
		}
	}
	t.Fatalf("no row with %q in\n%s", text, table)
	return ""
}

// An operator's day at the command line: causes, letters, a rehearsal, a run, and what the audit says of it.
func TestTheCommandLineDoesWhatTheAPIDoes(t *testing.T) {
	cfg := auth.Config{Key: "a key for tests that is long enough"}
	verifier, err := auth.New(t.Context(), cfg)
	must(t, err)
	b := open(t, servertest.SQLite(t))
	b.kill(6)
	b.collect(dead("inventory", "other", 99, 2000, "malformed-order", "order 9 has no lines\x1b[31m"))
	srv := httptest.NewServer(httpapi.New(httpapi.Config{Letters: b.Store, Groups: drive.Groups, Verifier: verifier, Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(srv.Close)
	token, err := auth.Issue(cfg, "ann", []string{"operator"}, time.Hour)
	must(t, err)
	t.Setenv("DLQ_REPLAYER_URL", srv.URL)
	t.Setenv("DLQ_REPLAYER_TOKEN", token)
	p := terminalOf{t}
	want := func(code int, text, stdin string, words ...string) string {
		t.Helper()
		out, got := p.run(stdin, words...)
		if got != code || !strings.Contains(out, text) || strings.Contains(out, "\x1b") {
			t.Errorf("%v: exit %d with %q, want %d with %q", words, got, out, code, text)
		}
		return out
	}

	causes := want(0, "order <n> is odd", "", "causes")
	cause := id(t, causes, "is odd")
	want(0, "", "", "causes", "note", cause, "--note", "known since Monday", "--mute")
	want(0, "(muted) known since Monday", "", "causes")
	letters := want(0, "points", "", "letters", "list", "--cause", cause)
	first := id(t, letters, "points")
	want(0, `"text": "v"`, "", "letters", "show", first)
	want(1, "404", "", "letters", "show", "none")
	want(1, "say which letters", "", "jobs", "rehearse", "--reason", "x")
	want(1, "reason", "", "jobs", "run", "--cause", cause)
	want(1, "table or json", "", "causes", "-o", "yaml")

	g := &group{bundle: b, judge: func(_ string, dryRun bool) kafka.OutcomeKind {
		if dryRun {
			return kafka.FailedAgain
		}
		return kafka.Applied
	}}
	start := func(words ...string) (j job) {
		t.Helper()
		must(t, json.Unmarshal([]byte(want(0, `"id"`, "", append([]string{"jobs"}, append(words, "-o", "json")...)...)), &j))
		return j
	}
	rehearsal := start("run", "--dry-run", "--id", first, "--reason", "would it work?")
	g.until(rehearsal.ID, isDone)
	want(3, "1 letters failed again", "", "jobs", "watch", rehearsal.ID)
	run := start("run", "--cause", cause, "--reason", "mended", "--rate", "10000")
	want(0, `"paused"`, "", "jobs", "pause", run.ID, "--reason", "lunch", "-o", "json")
	want(4, "is paused", "", "jobs", "watch", run.ID)
	want(0, "running", "", "jobs", "resume", run.ID)
	if j := g.until(run.ID, isDone); j.Counts[replay.Applied] != 6 {
		t.Errorf("the run came to %v", j.Counts)
	}
	want(0, "6 applied", "", "jobs", "watch", run.ID)
	want(0, "6 applied", "", "jobs", "list", "--state", "done")
	want(0, first, "", "jobs", "show", run.ID, "--outcome", "applied")
	want(1, "it is done", "", "jobs", "cancel", run.ID)
	want(0, "0 letters", "", "letters", "discard", "--id", first, "--reason", "late", "--yes")
	want(1, "nothing was done", "n\n", "letters", "discard", "--group", "inventory", "--reason", "test orders")
	want(0, "discard: 1 letters", "y\n", "letters", "discard", "--group", "inventory", "--reason", "test orders")
	want(0, "restore: 1 letters", "", "letters", "restore", "--id", id(t, want(0, "discarded", "", "letters", "list", "--group", "inventory"), "inventory"), "--reason", "sorry", "-y")
	want(0, "refused 1", `[{"op":"add","path":"/x","value":1}]`, "letters", "edit", "--group", "inventory", "--patch", "-", "--reason", "try")

	file := filepath.Join(t.TempDir(), "letters.ndjson")
	must(t, os.WriteFile(file, []byte(want(0, `"eventId":"other"`, "", "letters", "export", "--group", "inventory")), 0o600))
	want(0, `"newDeaths":0`, "", "letters", "import", file, "--reason", "again")
	want(0, "would it work?", "", "audit", "list")
	want(0, "entries, head", "", "audit", "verify")
	t.Setenv("DLQ_REPLAYER_TOKEN", "")
	want(1, "DLQ_REPLAYER_TOKEN is not set", "", "causes")
}
