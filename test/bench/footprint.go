package bench

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/floodgate-dev/floodgate/test/suite"
)

const (
	rowRunAnswers = "`make run`: answers after the build"
	rowRunIdle    = "`make run`: resident memory after its first order"
	rowRunLoad    = "`make run`: most resident memory, ordered from for a while"
)

// footprint measures what the programs take: on disk, until they are ready, and in memory. h has just been at work.
func footprint(b *testing.B, r *report, h house, who []string, during time.Duration) {
	b.Helper()
	r.chapter("Footprint", "Sizes are of the binaries as they are shipped. The start is from exec to `/readyz`, on tables that are there; idle is a few seconds after that; under load is the most the kernel ever "+
		"counted for the process of the end-to-end rounds. `make run` is its one process, everything embedded, on an empty state folder; 16 customers order from it.")
	for _, p := range h.All() {
		_, most := memory(p.PID())
		r.sample(p.Service+": binary", "MB", size(b, p.Service))
		p.Terminate()
		began := time.Now()
		p.Restart()
		r.sample(p.Service+": start", "s", time.Since(began).Seconds())
		<-time.After(during)
		idle, _ := memory(p.PID())
		r.sample(p.Service+": resident, idle", "MB", idle)
		r.sample(p.Service+": resident, under load", "MB", most)
	}

	e := suite.NewEmbedded(b, b.TempDir())
	began := time.Now()
	e.Start()
	suite.WaitFor(b, time.Minute, func() error {
		answer, err := http.Get(e.Base + "/openapi.yaml")
		if err != nil {
			return err
		}
		_ = answer.Body.Close() // its status is all that matters
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", answer.Status)
		}
		return nil
	})
	r.sample("`make run`: binary", "MB", size(b, "floodgate"))
	r.sample(rowRunAnswers, "s", time.Since(began).Seconds())
	e.WaitAddresses()
	<-time.After(during) // its order's life
	idle, _ := memory(e.PID())
	r.sample(rowRunIdle, "MB", idle)
	suite.Client{Base: e.Base, Token: suite.Token(b, "stocker", "operator")}.Must(b, http.StatusAccepted, http.MethodPost, "/items/tea/stock",
		map[string]any{"units": 10_000_000, "reason": "bench", "requestId": "bench"})
	t := closed(b.Context(), e.Base[len("http://"):], 16, during, unkeyed(who, "tea"))
	_, most := memory(e.PID())
	progress("%-40s %v", "make run", t)
	r.sample(rowRunLoad, "MB", most)
}

func size(tb testing.TB, program string) float64 {
	tb.Helper()
	info, err := os.Stat(suite.Binary(tb, program))
	if err != nil {
		tb.Fatal(err)
	}
	return float64(info.Size()) / 1e6
}
