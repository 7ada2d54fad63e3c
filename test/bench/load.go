package bench

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/valyala/fasthttp"
)

// patience is how long a customer waits for an answer; later it counts as none.
const patience = 20 * time.Second

// ask fills in one customer's n-th request, of all that the load sends.
type ask func(r *fasthttp.Request, n int64)

// tally is what a load came to.
type tally struct {
	took    time.Duration
	status  map[int]int64                   // answers by status; 0 for those that never came
	latency *hdrhistogram.Histogram         // of answers in µs, from the moment the request was meant to be sent
	on      map[int]*hdrhistogram.Histogram // the same by status
}

func newTally() tally {
	return tally{status: map[int]int64{}, latency: newHistogram(), on: map[int]*hdrhistogram.Histogram{}}
}

// newHistogram holds µs to a minute, to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 60_000_000, 3) }

func (t *tally) note(status int, took time.Duration) {
	t.status[status]++
	if status == 0 {
		return
	}
	if t.on[status] == nil {
		t.on[status] = newHistogram()
	}
	µs := max(1, took.Microseconds())
	_ = t.latency.RecordValue(µs)    // patience is below the histogram's end
	_ = t.on[status].RecordValue(µs) // the same
}

func (t *tally) add(other tally) {
	for status, n := range other.status {
		t.status[status] += n
	}
	t.latency.Merge(other.latency)
	for status, h := range other.on {
		if t.on[status] == nil {
			t.on[status] = newHistogram()
		}
		t.on[status].Merge(h)
	}
}

// accepts is how many orders were accepted in a second.
func (t tally) accepts() float64 { return float64(t.status[http.StatusCreated]) / t.took.Seconds() }

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
	c := client(addr, customers)
	defer c.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, during)
	defer cancel()
	var n atomic.Int64
	all := make([]tally, customers)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range customers {
		all[i] = newTally()
		wg.Go(func() {
			req, answer := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(answer)
			for ctx.Err() == nil {
				fill(req, n.Add(1))
				sent := time.Now()
				all[i].note(send(c, req, answer), time.Since(sent))
			}
		})
	}
	wg.Wait()
	return together(all, time.Since(began))
}

// open sends rate requests a second, each at its moment, whether or not earlier ones were answered; the time of an answer
// counts from that moment. Where more wait than there are customers, the next ones start late, and their wait counts too.
func open(ctx context.Context, addr string, rate float64, customers int, during time.Duration, fill ask) tally {
	c := client(addr, customers)
	defer c.CloseIdleConnections()
	total := int64(rate * during.Seconds())
	gap := float64(time.Second) / rate
	var n atomic.Int64
	all := make([]tally, customers)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range customers {
		all[i] = newTally()
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
				all[i].note(status, time.Since(due))
			}
		})
	}
	wg.Wait()
	return together(all, time.Since(began))
}

func send(c *fasthttp.HostClient, req *fasthttp.Request, answer *fasthttp.Response) int {
	if err := c.DoTimeout(req, answer, patience); err != nil {
		return 0
	}
	return answer.StatusCode()
}

func together(all []tally, took time.Duration) tally {
	sum := newTally()
	for _, t := range all {
		sum.add(t)
	}
	sum.took = took
	return sum
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

func skuName(i int) string { return "sku-" + strconv.Itoa(i) }
