package bench

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

func TestTheListenerOfAnAddressIsFound(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if pid := listener(t, ln.Addr().String()); pid != os.Getpid() {
		t.Errorf("the listener is %d, want ourselves, %d", pid, os.Getpid())
	}
	if _, err := listening("127.0.0.1:1"); err == nil {
		t.Error("somebody listens at port 1")
	}
}

func TestProcessorTimeAndMemoryAreTheKernels(t *testing.T) {
	t.Parallel()
	before := alone(os.Getpid())
	for until := time.Now().Add(100 * time.Millisecond); time.Now().Before(until); {
		_ = newHistogram() // work
	}
	if used := alone(os.Getpid()) - before; used < tick {
		t.Errorf("100 ms of work are counted as %v", used)
	}
	if all := (census{1: {0, time.Second}, 2: {1, 2 * time.Second}, 3: {2, 4 * time.Second}, 4: {1, 8 * time.Second}}); all.tree(2) != 6*time.Second {
		t.Errorf("a process and its child have spent %v, want 2 s and 4 s together", all.tree(2))
	}
	if now, most := memory(os.Getpid()); now < 1 || most < now {
		t.Errorf("memory is %v MB now and %v at most", now, most)
	}
	if each, sum := (spent{"a": 3 * time.Millisecond, "b": time.Millisecond}).since(spent{"a": time.Millisecond}, 1000); each["a"] != 2 || each["b"] != 1 || sum != 3 {
		t.Errorf("a thousand orders cost %v each, %v in all, want 2 and 1 µs, 3 in all", each, sum)
	}
}

func TestTheWiretapCountsWhatIsExecuted(t *testing.T) {
	t.Parallel()
	message := func(kind byte, body string) []byte {
		var b []byte
		if kind != 0 {
			b = append(b, kind)
		}
		return append(binary.BigEndian.AppendUint32(b, uint32(4+len(body))), body...)
	}
	sent := bytes.Join([][]byte{
		message(0, "EQ is a parameter"), message('p', "Q"), message('Q', "BEGIN"), message('P', "EEE"), message('B', ""), message('E', "x"), message('S', ""), message('X', ""),
	}, nil)
	var w wiretap
	var passed bytes.Buffer
	w.listen(bytes.NewReader(sent), &passed)
	if n := w.seen.Load(); n != 2 || !bytes.Equal(passed.Bytes(), sent) {
		t.Errorf("%d statements were counted, want 2; passed on were %q", n, passed.Bytes())
	}
}

func TestATallyKnowsItsSeconds(t *testing.T) {
	t.Parallel()
	noted := newDesks()
	for second, accepted := range []int{10, 0, 5, 10, 10} {
		for i := range 10 {
			status, took := http.StatusCreated, 100*time.Millisecond
			if i >= accepted {
				status, took = http.StatusServiceUnavailable, time.Millisecond
			}
			noted.note(i, second, status, took)
		}
	}
	all := noted.together(5 * time.Second)
	if all.status[http.StatusCreated] != 35 || all.accepts() != 7 || all.ms(25) > 2 || all.ms(99) < 99 || all.msOf(http.StatusCreated, 1) < 99 {
		t.Errorf("the tally is %v, accepted ones after %v ms at least", all, all.msOf(http.StatusCreated, 1))
	}
	if s := all.share(0, 5); s != 70 {
		t.Errorf("%v %% were accepted, want 70", s)
	}
	if s := all.share(3, 99); s != 100 {
		t.Errorf("%v %% of the last seconds were accepted, want 100", s)
	}
	if s := all.recovered(); s != 3 {
		t.Errorf("it was well again in second %d, want 3", s)
	}
}

func TestGrowthIsTheFarthestFromTheFirst(t *testing.T) {
	t.Parallel()
	r, g := newReport(), skusOf(false)
	for i, v := range []float64{100, 80, 110, 105} {
		r.detail(g.row(g.steps[i]), "µs/order", v)
	}
	if far := g.farthest(r); far < 19.99 || far > 20.01 {
		t.Errorf("the farthest lies %v %% off, want 20", far)
	}
}
