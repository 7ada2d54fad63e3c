package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/floodgate-dev/floodgate/pkg/run"
	"github.com/floodgate-dev/floodgate/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handle is what the service of the test does with a call.
type handle func(ctx context.Context) error

// describe makes a service of one method without generated code.
func (h handle) describe(s *grpc.Server) {
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Service", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Do",
		Handler: func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			in := &emptypb.Empty{}
			if err := decode(in); err != nil {
				return nil, err
			}
			return intercept(ctx, in, &grpc.UnaryServerInfo{FullMethod: "/test.Service/Do"},
				func(ctx context.Context, _ any) (any, error) { return &emptypb.Empty{}, h(ctx) })
		},
	}}}, nil)
}

// pair is a door and a caller of it, connected in memory.
type pair struct {
	conn  *grpc.ClientConn
	stop  context.CancelFunc
	ended chan error
}

func connect(t *testing.T, h handle) *pair {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &pair{stop: stop, ended: make(chan error, 1)}
	go func() { p.ended <- ServeOn(ctx, listener, telemetry.Discard(), h.describe) }()
	conn, err := Dial("passthrough:///test", telemetry.Discard(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	return p
}

func (p *pair) do(ctx context.Context) error {
	return p.conn.Invoke(ctx, "/test.Service/Do", &emptypb.Empty{}, &emptypb.Empty{})
}

func (p *pair) end(t *testing.T) {
	t.Helper()
	p.stop()
	if err := errors.Join(<-p.ended, p.conn.Close()); err != nil {
		t.Error(err)
	}
}

func TestWhatACallerReads(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handle handle
		code   codes.Code
		says   string
	}{
		"Success":          {func(context.Context) error { return nil }, codes.OK, ""},
		"AWrittenError":    {func(context.Context) error { return status.Error(codes.NotFound, "no such user") }, codes.NotFound, "no such user"},
		"AnInnerError":     {func(context.Context) error { return errors.New("password=hunter2") }, codes.Internal, "internal error"},
		"APanic":           {func(context.Context) error { panic("password=hunter2") }, codes.Internal, "internal error"},
		"OutOfTime":        {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, codes.DeadlineExceeded, ""}, // in the words of whichever end notices first
		"NoDeadlineIsSome": {hasDeadline, codes.OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connect(t, c.handle)
			defer p.end(t)
			err := p.do(t.Context())
			if status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.says) || strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("err = %v, want %v %q", err, c.code, c.says)
			}
			if _, err := healthpb.NewHealthClient(p.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
				t.Errorf("the door is not well afterwards: %v", err)
			}
		})
	}
}

func hasDeadline(ctx context.Context) error {
	if _, set := ctx.Deadline(); !set {
		return errors.New("none")
	}
	return nil
}

func TestADoorOfItsOwnBoundsCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := unary(telemetry.Discard().Log)(t.Context(), nil, &grpc.UnaryServerInfo{}, func(ctx context.Context, _ any) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if status.Code(err) != codes.DeadlineExceeded || time.Since(began) != deadline {
			t.Errorf("err %v after %s", err, time.Since(began))
		}
	})
}

func TestACallUnderWayIsFinished(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	p := connect(t, func(context.Context) error { close(begun); <-release; return nil })
	answer := make(chan error, 1)
	go func() { answer <- p.do(t.Context()) }()
	<-begun
	p.stop()
	select {
	case err := <-p.ended:
		t.Fatalf("the door closed (%v) on a call under way", err)
	case <-time.After(50 * time.Millisecond): // time enough for a door that does not wait
	}
	close(release)
	if err := errors.Join(<-answer, <-p.ended, p.conn.Close()); err != nil {
		t.Error(err)
	}
}

func TestACallThatDoesNotEndIsCut(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	p := connect(t, func(ctx context.Context) error { close(begun); <-ctx.Done(); return ctx.Err() })
	answer := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { answer <- p.do(ctx) }()
	<-begun
	began := time.Now()
	p.end(t)
	if took := time.Since(began); took > 2*grace {
		t.Errorf("the door took %s to close", took)
	}
	if err := <-answer; err == nil {
		t.Error("the call was answered")
	}
}

func TestTakenPortIsToldByNumber(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	err = Serve(t.Context(), l.Addr().String(), telemetry.Discard(), func(*grpc.Server) {})
	if port, taken := run.TakenPort(err); !taken || port != l.Addr().(*net.TCPAddr).Port {
		t.Errorf("err = %v", err)
	}
}
