package bench

import (
	"bytes"
	"database/sql"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/servertest"
)

// goals judges what was promised. Each that is not met says what the same run measured of the reason.
func goals(r *report, quick bool) {
	r.goal("accepts on one hot sku, of echo behind the same middleware", 0.7, hot.row(), rowEcho, r.whyDearer(hot.row(), rowEcho))
	r.goal("accepts on one hot sku, of bare echo", 0.5, hot.row(), rowBare, r.whyDearer(hot.row(), rowBare))
	r.goal("accepts on one hot sku, of one transaction for each order on one hot sku", 2, hot.row(), rowSingle(1), r.whySlow(rowSingle(1)))
	r.goal("accepts on one hot sku, of the classic design on one hot sku", 100, hot.row(), rowClassic, r.whySlow(rowClassic))
	r.goal("accepts on 10,000 skus, of echo behind the same middleware", 0.55, wide.row(), rowEcho, r.whyDearer(wide.row(), rowEcho))
	r.goal("refusals of what is sold out, of echo behind the same middleware", 0.9, rowRefusals, rowEcho, func() string {
		return fmt.Sprintf("%.0f refusals a second beside %.0f echoes: a refusal also finds the item, asks what is remembered as sold out and writes a problem document", r.value(rowRefusals), r.value(rowEcho))
	})
	r.most("p99 in ms at half of capacity on one hot sku", 15, r.value(rowLatency+", p99"), func() string {
		return fmt.Sprintf("the p50 is %s ms; an order waits for the batch before its own, and everything shares %s", figure(r.value(rowLatency+", p50")), many(runtime.NumCPU(), "processor"))
	})
	r.least("orders a second end to end", 4000, r.value(rowEnd), func() string {
		cost := r.value(rowEnd + ", CPU in all")
		return fmt.Sprintf("an order costs %.0f µs of processor time on its whole way (%s), so %s could carry %.0f a second at the very most", cost,
			r.split(rowEnd, "order-api", "inventory", "points", "logistics", "dlq-replayer", partPostgres, partKafka, partRedis, partGenerator),
			many(runtime.NumCPU(), "processor"), float64(runtime.NumCPU())*1e6/cost)
	})
	r.most("p99 in ms from 201 to the shipment at half of that", 1000, r.value(rowWait+", p99"), func() string {
		return fmt.Sprintf("the p50 is %s ms", figure(r.value(rowWait+", p50")))
	})
	r.least("events a second through the relay", 50_000, r.value(rowRelay), func() string {
		return fmt.Sprintf("an event costs, in µs, %s", r.split(rowRelay, "the relay", partPostgres, partKafka))
	})
	r.least("messages a second applied by a consumer", 40_000, r.value(rowConsumer), func() string {
		return fmt.Sprintf("points alone spends %s µs on a message, its own event included, beside Postgres and Kafka", figure(r.value(rowConsumer+", points' CPU")))
	})
	r.most("p99 in ms from COMMIT to Kafka's acknowledgement at 5,000 events a second", 100, r.value(rowAck+", p99"), func() string {
		return fmt.Sprintf("the p50 is %s ms at %.0f events a second", figure(r.value(rowAck+", p50")), r.value(rowAckRate))
	})
	r.provided(r.value(rowAckRate) > 0.95*ackRate, fmt.Sprintf("only %.0f events a second could be committed", r.value(rowAckRate)))
	for _, g := range []growth{storesOf(quick), skusOf(quick)} {
		r.most(fmt.Sprintf("CPU an order, in %% off that with %s, up to %s %s", thousands(float64(g.steps[0])), thousands(float64(g.steps[len(g.steps)-1])), g.what),
			15, g.farthest(r), g.why(r))
	}
	r.least("goodput under ten times the capacity, in % of it", 80, 100*r.ratio(rowGoodput, rowThrottled), func() string {
		return fmt.Sprintf("%.0f of %.0f orders a second were accepted while %.0f were asked for", r.value(rowGoodput), r.value(rowThrottled), r.value(rowOffered))
	})
	tenfold := r.value(rowOffered) > 9.5*r.value(rowThrottled)
	r.provided(tenfold, fmt.Sprintf("the load generator came to %.0f requests a second beside the rest, not ten times %.0f", r.value(rowOffered), r.value(rowThrottled)))
	r.most("p99 of the admitted under ten times the capacity, of the calm one", 3, r.ratio(rowAdmitted, rowCalm), func() string {
		return fmt.Sprintf("%.0f ms, and %.0f ms in the calm", r.value(rowAdmitted), r.value(rowCalm))
	})
	r.provided(tenfold, fmt.Sprintf("%.0f ms, and %.0f ms in the calm, but not under ten times the capacity", r.value(rowAdmitted), r.value(rowCalm)))
	r.least("accepted in % of what is asked, from 5 s after the crowd on", 95, r.value(rowRecovered), func() string {
		return fmt.Sprintf("95 %% were accepted after %.0f s", r.value(rowBack))
	})
	r.least("pay and cancel in % that succeeded meanwhile", 99, r.value(rowSettled), func() string {
		return fmt.Sprintf("their p99 was %.0f ms", r.value(rowSettledMS))
	})
	r.most("`make run`, seconds until it answers after the build", 5, r.value(rowRunAnswers), func() string { return "its five services start their tables one beside the other" })
	r.most("`make run`, MB of resident memory at most", 300, r.value(rowRunLoad), func() string {
		return fmt.Sprintf("%.0f MB after its first order; five services, a Redis and a Kafka live in the one process", r.value(rowRunIdle))
	})
}

// whyDearer compares what an order costs with what an echo costs.
func (r *report) whyDearer(of, echo string) func() string {
	return func() string {
		return fmt.Sprintf("an order costs %.0f µs of processor time (%s), an echo %.0f", r.value(of+", CPU in all"), r.split(of, parts...), r.value(echo+", CPU in all"))
	}
}

func (r *report) whySlow(other string) func() string {
	return func() string {
		return fmt.Sprintf("%.0f orders a second beside %.0f; an order here costs %.0f µs of processor time (%s)", r.value(hot.row()), r.value(other),
			r.value(hot.row()+", CPU in all"), r.split(hot.row(), parts...))
	}
}

// split lists what parts spend in a row.
func (r *report) split(of string, parts ...string) string {
	each := make([]string, len(parts))
	for i, part := range parts {
		each[i] = part + " " + figure(r.value(of+", "+part))
	}
	return strings.Join(each, ", ")
}

// summary is what README.md says of the run.
func (r *report) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Commit %s on %s, %s, everything on one machine:\n\n| | a second | beside |\n|---|---|---|\n", r.Commit, r.Machine, r.When[:len("2006-01-02")])
	for _, of := range []struct{ what, row, against, beside string }{
		{"durable accepts, one hot sku", hot.row(), rowEcho, "%s × the same door only echoing"},
		{"", hot.row(), rowSingle(1), "%s × one transaction for each order (pgbench)"},
		{"", hot.row(), rowClassic, "%s × the classic design: lock, Lua, GORM, synchronous send"},
		{"", hot.row(), rowPrompt, "%s × that design with each event sent at once"},
		{"durable accepts, 10,000 skus", wide.row(), rowEcho, "%s × the same door only echoing"},
		{"refusals of what is sold out", rowRefusals, rowEcho, "%s × the same door only echoing"},
		{"end to end: booked, rewarded, to be shipped", rowEnd, hot.row(), "%s × the accepts alone"},
	} {
		rate := ""
		if of.what != "" {
			rate = thousands(r.value(of.row))
		}
		fmt.Fprintf(&b, "| %s | %s | "+of.beside+" |\n", of.what, rate, figure(r.ratio(of.row, of.against)))
	}
	if p, drawn := r.drawn("bench-rates.svg"); drawn {
		fmt.Fprintf(&b, "\n![%s](docs/images/%s)\n", p.alt, p.name)
	}
	met := 0
	for _, g := range r.Goals {
		if g.Met {
			met++
		}
	}
	fmt.Fprintf(&b, "\nAt half of that an order waits %s ms (p50) or %s ms (p99). %d of %d goals are met;\n[docs/BENCHMARKS.md](docs/BENCHMARKS.md) has them all, and what the others lack.\n",
		figure(r.value(rowLatency+", p50")), figure(r.value(rowLatency+", p99")), met, len(r.Goals))
	if ns := r.value(rowMemory); ns > quietNS {
		fmt.Fprintf(&b, "The machine was not this run's alone: a read that misses the processor's own cache took %s ns, where 10 to %d are usual when nobody else is there. Rates are that much lower, and so is the ratio to the classic design, which waits more than it works.\n", figure(ns), quietNS)
	}
	return b.String()
}

// drawn finds a picture by its name.
func (r *report) drawn(name string) (picture, bool) {
	for _, c := range r.chapters {
		for _, p := range c.pictures {
			if p.name == name {
				return p, true
			}
		}
	}
	return picture{}, false
}

// versions says which servers were measured.
func versions(tb testing.TB) string {
	tb.Helper()
	db, err := sql.Open("pgx", servertest.PostgresDSN(tb))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }() // it was only asked
	var postgres string
	if err := db.QueryRowContext(tb.Context(), `SELECT split_part(current_setting('server_version'), ' ', 1)`).Scan(&postgres); err != nil {
		tb.Fatal(err)
	}
	redis := "of an unknown version"
	if out, err := exec.CommandContext(tb.Context(), "redis-server", "--version").Output(); err == nil {
		_, rest, _ := strings.Cut(string(out), "v=")
		redis, _, _ = strings.Cut(rest, " ")
	}
	system := "an unknown system"
	if out, err := exec.CommandContext(tb.Context(), "uname", "-sr").Output(); err == nil {
		system = string(bytes.TrimSpace(out))
	}
	return fmt.Sprintf("Postgres %s (synchronous_commit=on), Redis %s, Apache Kafka %s, %s", postgres, redis, kafkaVersion("../../deploy/servers/kafka/pom.xml"), system)
}

// kafkaVersion is the version of the broker that `make servers` starts.
func kafkaVersion(pom string) string {
	text, err := os.ReadFile(pom)
	if err != nil {
		return "of an unknown version"
	}
	var project struct {
		Dependencies []struct {
			Artifact string `xml:"artifactId"`
			Version  string `xml:"version"`
		} `xml:"dependencies>dependency"`
		Properties struct {
			Kafka string `xml:"kafka.version"`
		} `xml:"properties"`
	}
	if err := xml.Unmarshal(text, &project); err != nil {
		return "of an unknown version"
	}
	for _, d := range project.Dependencies {
		if strings.HasPrefix(d.Artifact, "kafka_") {
			return strings.ReplaceAll(d.Version, "${kafka.version}", project.Properties.Kafka)
		}
	}
	return "of an unknown version"
}
