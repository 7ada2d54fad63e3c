package telemetry_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // as exporters may ask for it
	"google.golang.org/protobuf/proto"
)

// span is one that was received, and the service it came from.
type span struct {
	*trace.Span

	service string
	about   map[string]string // the resource
	how     string            // the protocol it came by
}

// receiver takes spans by OTLP over gRPC and over HTTP.
type receiver struct {
	collector.UnimplementedTraceServiceServer

	grpc, http string // endpoints

	mu    sync.Mutex // guards spans
	spans []span
}

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	collector.RegisterTraceServiceServer(srv, r)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(listener) }() // it ends with Stop
	web := httptest.NewServer(http.HandlerFunc(r.post))
	t.Cleanup(func() { srv.Stop(); <-done; web.Close() })
	r.grpc, r.http = "http://"+listener.Addr().String(), web.URL
	return r
}

// Export takes spans over gRPC.
func (r *receiver) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.take("grpc", in)
	return &collector.ExportTraceServiceResponse{}, nil
}

// post takes spans over HTTP.
func (r *receiver) post(w http.ResponseWriter, ask *http.Request) {
	body, err := io.ReadAll(ask.Body)
	in := &collector.ExportTraceServiceRequest{}
	if err != nil || ask.URL.Path != "/v1/traces" || ask.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, in) != nil {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	r.take("http", in)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (r *receiver) take(how string, in *collector.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range in.GetResourceSpans() {
		about := words(of.GetResource().GetAttributes())
		for _, s := range of.GetScopeSpans() {
			for _, one := range s.GetSpans() {
				r.spans = append(r.spans, span{one, about["service.name"], about, how})
			}
		}
	}
}

func words(all []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range all {
		switch v := kv.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[kv.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			out[kv.GetKey()] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			out[kv.GetKey()] = fmt.Sprint(v.BoolValue)
		}
	}
	return out
}

// all are the spans received so far.
func (r *receiver) all() []span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// branch is a span of a tree, and how deep it stands.
type branch struct {
	span

	depth int
}

// branches are the spans of the trace called id below the span called root: each before those below it, siblings in the
// order of less. Statements and commands are left out, and looked at on their own.
func (r *receiver) branches(id, root string, less func(a, b span) bool) []branch {
	below := map[string][]span{}
	for _, s := range r.all() {
		if hex.EncodeToString(s.GetTraceId()) == id && words(s.GetAttributes())["db.system.name"] == "" {
			parent := hex.EncodeToString(s.GetParentSpanId())
			below[parent] = append(below[parent], s)
		}
	}
	var all []branch
	var climb func(parent string, depth int)
	climb = func(parent string, depth int) {
		level := below[parent]
		sort.Slice(level, func(i, j int) bool { return less(level[i], level[j]) })
		for _, s := range level {
			all = append(all, branch{s, depth})
			climb(s.id(), depth+1)
		}
	}
	climb(root, 0)
	return all
}

func byName(a, b span) bool { return line(a) < line(b) }

func byTime(a, b span) bool { return a.GetStartTimeUnixNano() < b.GetStartTimeUnixNano() }

// tree is the trace called id, below the span called root: one line a span, indented by its depth, siblings by name.
func (r *receiver) tree(id, root string) string {
	var b strings.Builder
	for _, s := range r.branches(id, root, byName) {
		b.WriteString(strings.Repeat("  ", s.depth) + line(s.span) + "\n")
	}
	return b.String()
}

func line(s span) string {
	kind := strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"))
	return fmt.Sprintf("%s (%s, %s)", s.GetName(), s.service, kind)
}

// named are the spans of a trace with this name.
func (r *receiver) named(id, name string) []span {
	var found []span
	for _, s := range r.all() {
		if s.GetName() == name && (id == "" || hex.EncodeToString(s.GetTraceId()) == id) {
			found = append(found, s)
		}
	}
	return found
}

func (s span) id() string { return hex.EncodeToString(s.GetSpanId()) }

func (s span) links() []string {
	var ids []string
	for _, l := range s.GetLinks() {
		ids = append(ids, hex.EncodeToString(l.GetSpanId()))
	}
	return ids
}
