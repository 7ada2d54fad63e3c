package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	rowThrottled = "overload: capacity, throttled"
	rowCalm      = "overload: admitted at 0.8 of capacity, p99"
	rowOffered   = "overload: offered"
	rowGoodput   = "overload: accepted under ten times the capacity"
	rowAdmitted  = "overload: admitted under ten times the capacity, p99"
	rowTurned    = "overload: turned away, p99"
	rowRecovered = "overload: accepted at 0.8 of capacity, from 5 s after on"
	rowBack      = "overload: until 95 % were accepted again"
	rowSettled   = "overload: pay and cancel meanwhile that succeeded"
	rowSettledMS = "overload: pay and cancel meanwhile, p99"
)

const (
	// throttle is the delay before COMMIT that lets a load generator on the same machine offer ten times what is taken.
	throttle = 250 * time.Millisecond
	// crowdSize is how many connections the crowd has; who finds none free waits, and that counts.
	crowdSize = 2000
)

// overload measures what happens to the orders that are taken when ten times as many are asked for as can be.
func overload(b *testing.B, r *report, who []string, during, storm, after time.Duration) {
	b.Helper()
	r.chapter("Ten times too much", fmt.Sprintf("order-api's setting `accept_delay` of %v holds each batch before its COMMIT, so that this machine can offer ten times what is accepted. "+
		"Open loop over %d connections, each request timed from the moment it was due; the capacity is what %d connections get accepted in a closed loop, calm is 0.8 of it, "+
		"the crowd comes for %v, and what follows is 0.8 again. Meanwhile orders that were accepted before are paid and cancelled, %d of them a second.",
		throttle, crowdSize, closedCrowd, storm, 2*settlesEach))
	s := openShop(b, "ORDER_API_ACCEPT_DELAY="+throttle.String())
	s.stock(b, 1)
	var accepted, lost int64
	load := func(t tally) tally {
		accepted, lost = accepted+t.status[http.StatusCreated], lost+t.status[0]
		progress("%-40s %7.0f/s  %v", "throttled", t.accepts(), t)
		return t
	}
	load(closed(b.Context(), s.addr(), closedCrowd, 2*time.Second, orders("first-", who, 1, 1)))
	full := load(closed(b.Context(), s.addr(), closedCrowd, during, orders("full-", who, 1, 1)))
	capacity := full.accepts()
	r.sample(rowThrottled, "orders/s", capacity)
	calm := load(open(b.Context(), s.addr(), 0.8*capacity, crowdSize, during, orders("calm-", who, 1, 1)))
	r.sample(rowCalm, "ms", calm.msOf(http.StatusCreated, 99))

	settle := s.settling(b, who, int(storm.Seconds()+1)*settlesEach)
	accepted += int64(len(settle.pay) + len(settle.cancel))
	ctx, stop := context.WithCancel(b.Context())
	var settled sync.WaitGroup
	settled.Go(func() { settle.run(ctx) })
	// Where nobody is turned away the crowd would stand there for ten times as long: it goes home unserved.
	crowd, home := context.WithTimeout(b.Context(), storm+patience/2)
	defer home()
	much := load(open(crowd, s.addr(), 10*capacity, crowdSize, storm, orders("storm-", who, 1, 1)))
	stop()
	settled.Wait()
	back := load(open(b.Context(), s.addr(), 0.8*capacity, crowdSize, after, orders("after-", who, 1, 1)))
	s.audit(b, accepted, lost)

	r.sample(rowOffered, "requests/s", much.offered())
	r.sample(rowGoodput, "orders/s", much.accepts())
	r.sample(rowAdmitted, "ms", much.msOf(http.StatusCreated, 99))
	r.sample(rowTurned, "ms", much.msOf(http.StatusServiceUnavailable, 99))
	r.sample(rowRecovered, "%", back.share(5, int(after.Seconds())))
	r.sample(rowBack, "s", float64(back.recovered()))
	r.sample(rowSettled, "%", settle.share())
	r.sample(rowSettledMS, "ms", settle.tally.ms(99))
	r.against(rowOffered, rowThrottled)
	r.against(rowGoodput, rowThrottled)
	r.against(rowAdmitted, rowCalm)
	r.picture("bench-overload.svg", "Orders asked for and accepted, second by second", stormChart(calm, much, back))
}

// closedCrowd is how many connections find out the capacity.
const closedCrowd = 512

// offered is how many requests a second were asked.
func (t tally) offered() float64 {
	var all int64
	for _, n := range t.status {
		all += n
	}
	return float64(all) / t.took.Seconds()
}

// recovered is the first second from which on 95 % of what was asked in a second was accepted.
func (t tally) recovered() int {
	for second := len(t.seconds); second > 0; second-- {
		if t.share(second-1, second) < 95 {
			return second
		}
	}
	return 0
}

func stormChart(loads ...tally) string {
	offered, accepted, turned := line{name: "asked for"}, line{name: "accepted"}, line{name: "turned away"}
	at := 0.0
	for _, t := range loads {
		for _, answers := range t.seconds {
			var all int64
			for _, n := range answers {
				all += n
			}
			offered.points = append(offered.points, point{at, float64(all)})
			accepted.points = append(accepted.points, point{at, float64(answers[http.StatusCreated])})
			turned.points = append(turned.points, point{at, float64(answers[http.StatusServiceUnavailable] + answers[http.StatusTooManyRequests])})
			at++
		}
	}
	return lines("Orders by the second in which they were asked for", "a second", "seconds", false, []line{offered, accepted, turned})
}

// settlesEach is how many orders a second are paid, and as many cancelled, while the crowd is there.
const settlesEach = 10

// settling are orders that were accepted and are to be paid or cancelled.
type settling struct {
	addr        string
	who         []string
	pay, cancel []settlement
	tally       tally
}

type settlement struct{ order, token string }

// settling has orders accepted whose money is awaited, n to be paid and n to be cancelled.
func (s shop) settling(b *testing.B, who []string, n int) *settling {
	b.Helper()
	var mu sync.Mutex
	var all []settlement
	c := client(s.addr(), customers)
	defer c.CloseIdleConnections()
	fill := orders("settled-", who, 1, 1)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range customers {
		wg.Go(func() {
			req, answer := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(req)
			defer fasthttp.ReleaseResponse(answer)
			for k := next.Add(1); k <= int64(2*n); k = next.Add(1) {
				fill(req, k)
				req.SetBodyString(`{"skuId":"sku-0","quantity":1,"payment":"deferred"}`)
				var o struct {
					ID string `json:"id"`
				}
				if status := send(c, req, answer); status != http.StatusCreated || json.Unmarshal(answer.Body(), &o) != nil {
					b.Errorf("an order to be paid or cancelled later is answered %d %s", status, answer.Body())
					return
				}
				mu.Lock()
				all = append(all, settlement{o.ID, string(req.Header.Peek("Authorization"))})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return &settling{addr: s.addr(), who: who, pay: all[:n], cancel: all[n:]}
}

// run pays and cancels at a steady rate until ctx ends or all are done.
func (s *settling) run(ctx context.Context) {
	s.tally = open(ctx, s.addr, 2*settlesEach, 2*settlesEach, time.Duration(len(s.pay))*time.Second/settlesEach, func(r *fasthttp.Request, n int64) {
		of, path, body := s.pay, "/pay", `{"paymentRef":"till-`+strconv.FormatInt(n, 10)+`"}`
		if n%2 == 0 {
			of, path, body = s.cancel, "/cancel", `{"reason":"changed their mind"}`
		}
		one := of[int(n/2)%len(of)]
		r.Reset()
		r.Header.SetMethod(fasthttp.MethodPost)
		r.SetRequestURI("/api/v1/orders/" + one.order + path)
		r.Header.SetHost("floodgate")
		r.Header.SetContentType("application/json")
		r.Header.Set("Authorization", one.token)
		r.SetBodyString(body)
	})
}

// share is how many of them succeeded, in per cent.
func (s *settling) share() float64 {
	var all int64
	for _, n := range s.tally.status {
		all += n
	}
	return 100 * float64(s.tally.status[http.StatusOK]) / float64(max(1, all))
}
