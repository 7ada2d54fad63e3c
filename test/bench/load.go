package bench

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/valyala/fasthttp"
)

// customers are as many as there are connections in the rows on capacity.
const customers = 64

// patience is how long a customer waits for an answer; later it counts as none.
const patience = 20 * time.Second

// ask fills in one customer's n-th request, of all that the load sends.
type ask func(r *fasthttp.Request, n int64)

// tally is what a load came to.
type tally struct {
	took    time.Duration
	status  map[int]int64                   // answers by status; 0 for those that never came
	latency *hdrhistogram.Histogram         // of all answers in µs, from the moment the request was meant to be sent; once added up
	on      map[int]*hdrhistogram.Histogram // the same by status
	seconds []map[int]int64                 // answers by status for each second in which requests were due; of an open load
}

func newTally() tally {
	return tally{status: map[int]int64{}, latency: newHistogram(), on: map[int]*hdrhistogram.Histogram{}}
}

// newHistogram holds µs to a minute, to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 60_000_000, 3) }

func (t *tally) answered(status int, took time.Duration) {
	t.status[status]++
	if status == 0 {
		return
	}
	if t.on[status] == nil {
		t.on[status] = newHistogram()
	}
	_ = t.on[status].RecordValue(max(1, took.Microseconds())) // patience is below the histogram's end
}

func (t *tally) noteSecond(second, status int, n int64) {
	for len(t.seconds) <= second {
		t.seconds = append(t.seconds, map[int]int64{})
	}
	t.seconds[second][status] += n
}

func (t *tally) add(other tally) {
	for second, answers := range other.seconds {
		for status, n := range answers {
			t.noteSecond(second, status, n)
		}
	}
	for status, n := range other.status {
		t.status[status] += n
	}
	for status, h := range other.on {
		t.latency.Merge(h)
		if t.on[status] == nil {
			t.on[status] = newHistogram()
		}
		t.on[status].Merge(h)
	}
}

// accepts is how many orders were accepted in a second.
func (t tally) accepts() float64 { return t.rate(http.StatusCreated) }

// rate is how many answers had the status in a second.
func (t tally) rate(status int) float64 { return float64(t.status[status]) / t.took.Seconds() }

// share is how many of all requests that were due in seconds from on were accepted, in per cent; to is the first second that
// does not count.
func (t tally) share(from, to int) float64 {
	var accepted, all int64
	for _, answers := range t.seconds[min(from, len(t.seconds)):min(to, len(t.seconds))] {
		for status, n := range answers {
			if all += n; status == http.StatusCreated {
				accepted += n
			}
		}
	}
	return 100 * float64(accepted) / float64(max(1, all))
}

// msOf is a quantile of the times of answers with one status in milliseconds.
func (t tally) msOf(status int, quantile float64) float64 {
	if t.on[status] == nil {
		return 0
	}
	return float64(t.on[status].ValueAtQuantile(quantile)) / 1000
}

// ms is a quantile of all answers' times in milliseconds.
func (t tally) ms(quantile float64) float64 {
	return float64(t.latency.ValueAtQuantile(quantile)) / 1000
}

func (t tally) String() string {
	return fmt.Sprintf("%v in %v, p50 %.2f ms, p99 %.2f ms", t.status, t.took.Round(time.Millisecond), t.ms(50), t.ms(99))
}

// client keeps a connection for each customer.
func client(addr string, conns int) *fasthttp.HostClient {
	return &fasthttp.HostClient{
		Addr: addr, MaxConns: conns, MaxIdemponentCallAttempts: 1, ReadTimeout: patience, WriteTimeout: patience,
		MaxIdleConnDuration: time.Hour, NoDefaultUserAgentHeader: true, DisableHeaderNamesNormalizing: true,
		RetryIfErr: func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
	}
}

// closed keeps customers busy for a while: each sends its next request when it has the answer to the last. It measures
// what a door can do, and says nothing of how long people wait.
func closed(ctx context.Context, addr string, customers int, during time.Duration, fill ask) tally {
	ctx, cancel := context.WithTimeout(ctx, during)
	defer cancel()
	return crew(ctx, addr, customers, math.MaxInt64, fill)
}

// counted is closed for a number of requests instead of a time.
func counted(ctx context.Context, addr string, requests int64, fill ask) tally {
	return crew(ctx, addr, customers, requests, fill)
}

// desks are where customers note their answers, some at each: a histogram is too large for everybody to have one.
type desks []*desk

type desk struct {
	mu sync.Mutex
	tally
}

func newDesks() desks {
	all := make(desks, 8)
	for i := range all {
		all[i] = &desk{tally: newTally()}
	}
	return all
}

// note notes the answer to customer i's request, which was due in a second of its load.
func (d desks) note(i, second, status int, took time.Duration) {
	at := d[i%len(d)]
	at.mu.Lock()
	defer at.mu.Unlock()
	at.answered(status, took)
	if second >= 0 {
		at.noteSecond(second, status, 1)
	}
}

// together is what all customers noted.
func (d desks) together(took time.Duration) tally {
	sum := newTally()
	for _, at := range d {
		sum.add(at.tally)
	}
	sum.took = took
	return sum
}

// crew are customers who send requests, each its next when it has the answer to the last, until there were enough or ctx
// ends. fasthttp's client does it for 19 µs of processor time a request, most of it the kernel's; wrk needs 13, but cannot
// say which status an answer had, and every row here counts statuses.
func crew(ctx context.Context, addr string, customers int, requests int64, fill ask) tally {
	c := client(addr, customers)
	defer c.CloseIdleConnections()
	var n atomic.Int64
	all, began := newDesks(), time.Now()
	var wg sync.WaitGroup
	for i := range customers {
		wg.Go(func() {
			req, answer := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(answer)
			for k := n.Add(1); k <= requests && ctx.Err() == nil; k = n.Add(1) {
				fill(req, k)
				sent := time.Now()
				all.note(i, -1, send(c, req, answer), time.Since(sent))
			}
		})
	}
	wg.Wait()
	return all.together(time.Since(began))
}

// open sends rate requests a second, each at its moment, whether or not earlier ones were answered; the time of an answer
// counts from that moment. Where more wait than there are customers, the next ones start late, and their wait counts too.
func open(ctx context.Context, addr string, rate float64, customers int, during time.Duration, fill ask) tally {
	c := client(addr, customers)
	defer c.CloseIdleConnections()
	total := int64(rate * during.Seconds())
	gap := float64(time.Second) / rate
	var n atomic.Int64
	all, began := newDesks(), time.Now()
	var wg sync.WaitGroup
	for i := range customers {
		wg.Go(func() {
			req, answer := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(answer)
			for {
				k := n.Add(1)
				if k > total || ctx.Err() != nil {
					return
				}
				due := began.Add(time.Duration(float64(k) * gap))
				if early := time.Until(due); early > 0 {
					<-time.After(early)
				}
				fill(req, k)
				status := send(c, req, answer)
				all.note(i, int(due.Sub(began)/time.Second), status, time.Since(due))
			}
		})
	}
	wg.Wait()
	return all.together(time.Since(began))
}

func send(c *fasthttp.HostClient, req *fasthttp.Request, answer *fasthttp.Response) int {
	if err := c.DoTimeout(req, answer, patience); err != nil {
		return 0
	}
	return answer.StatusCode()
}

// orders asks for one unit of each of lines skus out of skus, by one customer after the other, each under a key of its own.
// Every load has a name of its own, so that its keys are.
func orders(load string, tokens []string, skus, lines int) ask {
	return func(r *fasthttp.Request, n int64) {
		r.Reset()
		r.Header.SetMethod(fasthttp.MethodPost)
		r.SetRequestURI("/api/v1/orders")
		r.Header.SetHost("floodgate")
		r.Header.SetContentType("application/json")
		r.Header.Set("Authorization", tokens[int(n)%len(tokens)])
		r.Header.Set("Idempotency-Key", load+strconv.FormatInt(n, 36))
		body := append(make([]byte, 0, 64*lines), `{"items":[`...)
		for l := range lines {
			if l > 0 {
				body = append(body, ',')
			}
			body = append(body, `{"skuId":"`...)
			body = append(body, skuName((int(n)*7919+l)%skus)...)
			body = append(body, `","quantity":1}`...)
		}
		r.SetBodyRaw(append(body, "]}"...))
	}
}

// repeats asks for the same orders again and again: each key belongs to one customer.
func repeats(load string, tokens []string) ask {
	fill := orders(load, tokens, 1, 1)
	return func(r *fasthttp.Request, n int64) { fill(r, n%int64(len(tokens))) }
}

// unkeyed is orders without Idempotency-Keys, for one sku.
func unkeyed(tokens []string, sku string) ask {
	fill := orders("", tokens, 1, 1)
	return func(r *fasthttp.Request, n int64) {
		fill(r, n)
		r.Header.Del("Idempotency-Key")
		r.SetBodyString(`{"items":[{"skuId":"` + sku + `","quantity":1}]}`)
	}
}

// reads gets pages, one after the other.
func reads(token string, paths ...string) ask {
	return func(r *fasthttp.Request, n int64) {
		r.Reset()
		r.SetRequestURI(paths[int(n)%len(paths)])
		r.Header.SetHost("floodgate")
		r.Header.Set("Authorization", token)
	}
}

func skuName(i int) string { return "sku-" + strconv.Itoa(i) }
