package run

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/pkg/kafka"
)

// shelf is a store of two offsets that remembers what was set.
type shelf struct{ set []int64 }

func (s *shelf) Close() error { return nil }

func (s *shelf) open() (offsetStore, io.Closer, error) {
	return offsetStore{
		list: func(context.Context) ([]kafka.OffsetRow, error) {
			return []kafka.OffsetRow{
				{Group: "points", Topic: "order-status-changes", Next: 12, Applied: 10, Parked: 1, Dead: 1},
				{Group: "points", Topic: "order-status-changes", Partition: 1, Next: 7, Applied: 7},
			}, nil
		},
		set: func(_ context.Context, group, topic string, partition int, next int64) error {
			if group != "points" || topic != "order-status-changes" || partition != 1 {
				return errors.New("another one")
			}
			s.set = append(s.set, next)
			return nil
		},
	}, s, nil
}

func TestOffsets(t *testing.T) {
	t.Parallel()
	set := func(more ...string) []string {
		return append([]string{"set", "--topic", "order-status-changes", "--partition", "1"}, more...)
	}
	for name, c := range map[string]struct {
		args  []string
		input string
		code  int
		says  string
		set   []int64
	}{
		"Show":          {[]string{"show"}, "", 0, "points  order-status-changes  0          12    10       1       1\n", nil},
		"Back":          {set("--next", "3"), "y\n", 0, "reads 4 records again, harmless", []int64{3}},
		"Forward":       {set("--next", "9"), "Y\n", 0, "leaves 2 records out for good", []int64{9}},
		"No":            {set("--next", "9"), "\n", 1, "nothing was changed", nil},
		"NoAnswer":      {set("--next", "9"), "", 1, "nothing was changed", nil},
		"Yes":           {set("--next", "0", "--yes"), "", 0, "points on order-status-changes/1 goes on at 0 (was 7)", []int64{0}},
		"Negative":      {set("--next", "-1", "--yes"), "", 1, "offsets begin at 0", nil},
		"NoSuchGroup":   {set("--next", "1", "--yes", "--group", "pionts"), "", 1, "there is no offset of pionts", nil},
		"NothingIsSaid": {set(), "", 1, `required flag(s) "next" not set`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said bytes.Buffer
			s := &shelf{}
			cmd := offsetsCommand("points", s.open)
			cmd.SetArgs(c.args)
			cmd.SetIn(strings.NewReader(c.input))
			cmd.SetOut(&said)
			cmd.SetErr(&said)
			code := execute(t.Context(), cmd, &said)
			if code != c.code || !strings.Contains(said.String(), c.says) || len(s.set) != len(c.set) || len(c.set) == 1 && s.set[0] != c.set[0] {
				t.Errorf("exit %d, set %v, said:\n%s", code, s.set, &said)
			}
		})
	}
}
