package house_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/floodgate-dev/floodgate/test/house"
)

// rulesRooms decide; they are pure.
var rulesRooms = []string{
	"services/dlq-replayer/internal/letter",
	"services/inventory/internal/stock",
	"services/logistics/internal/shipment",
	"services/order-api/internal/order",
	"services/points/internal/points",
}

const moves = "services/order-api/internal/store/moves.go"

// TestTheHouseIsInOrder reads files that the go tool does not see this test open: run it with -count=1.
func TestTheHouseIsInOrder(t *testing.T) {
	t.Parallel()
	h, err := house.Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range house.Rules(rulesRooms, moves) {
		t.Run(rule.Name, func(t *testing.T) {
			t.Parallel()
			for _, broken := range rule.Check(h) {
				t.Error(broken)
			}
		})
	}
}

// TestEachRuleCanBeBroken judges, for each rule, a tree that breaks it: the findings are in the tree's file "want".
func TestEachRuleCanBeBroken(t *testing.T) {
	t.Parallel()
	rules := house.Rules([]string{"services/a/internal/rules"}, "services/order-api/internal/store/moves.go")
	for _, broken := range rules {
		t.Run(broken.Name, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join("testdata", broken.Name)
			h, err := house.Read(root)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(root, "want"))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(broken.Check(h), "\n") + "\n"; got != string(want) {
				t.Errorf("found\n%swant\n%s", got, want)
			}
		})
	}
}

// TestAGoodHouseBreaksNothing holds what comes close to breaking a rule and does not.
func TestAGoodHouseBreaksNothing(t *testing.T) {
	t.Parallel()
	h, err := house.Read("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Files) < 8 {
		t.Fatalf("read %d files: the fixtures are not there", len(h.Files))
	}
	for _, rule := range house.Rules([]string{"services/a/internal/rules"}, moves) {
		if broken := rule.Check(h); len(broken) > 0 {
			t.Errorf("%s: %s", rule.Name, slices.Concat(broken))
		}
	}
}
