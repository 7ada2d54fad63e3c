package poison

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Report is what was put where, and how to mend it.
type Report struct {
	Letters  []Letter // which listing an item mends, which an edit mends, which nothing mends, and whose effect an order shows
	Order    string   // that nobody accepted, the key of the first three
	SKU      string   // that is not listed
	Accepted string   // order that is of the fourth
	Took     time.Duration

	Shop     string // order-api's door; "" where nobody said
	Replayer string // dlq-replayer's door
}

// Patch is the JSON Patch that mends the second letter.
func (r Report) Patch() string {
	return fmt.Sprintf(`[{"op":"replace","path":"/order/id","value":%q}]`, r.Order)
}

// Parcel is the JSON Patch that mends the fourth letter.
func (r Report) Parcel() string {
	return fmt.Sprintf(`[{"op":"replace","path":"/shipment/orderId","value":%q}]`, r.Accepted)
}

// Listing is the item that mends the first letter, for PUT /items/:sku.
func (r Report) Listing() string {
	return fmt.Sprintf(`{"name":"Mended","unitPriceCents":%d,"currency":"EUR"}`, price)
}

func (r Report) String() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	shop := cmp.Or(r.Shop, "http://127.0.0.1:8080")

	say("Four records were sent and given up; dlq-replayer shows them after %.1f s.\n", r.Took.Seconds())
	for i, l := range r.Letters {
		say("  %d. %s", i+1, l.what)
		say("     group %s, kind %s: %s", l.Group, l.ErrorKind, l.Error)
		say("     letter %s, cause %s\n", l.ID, l.Cause)
	}
	say("Look at them, here or at %s/ (the command is built by `make build`):\n", r.Replayer)
	say("  export DLQ_REPLAYER_TOKEN=$(make -s token USER=me ROLE=operator)")
	if r.Replayer != "http://127.0.0.1:8085" {
		say("  export DLQ_REPLAYER_URL=%s", r.Replayer)
	}
	say("  bin/dlq-replayer causes")
	say("  bin/dlq-replayer letters list --group %s", r.Letters[0].Group)
	say("  bin/dlq-replayer letters show %s", r.Letters[1].ID)

	say("\nMend 1: list the item, ask the group what a replay would do, replay.\n")
	say("  curl -s -w '\\n' -X PUT %s/api/v1/items/%s -H \"Authorization: Bearer $DLQ_REPLAYER_TOKEN\" \\", shop, r.SKU)
	say("       -H 'Content-Type: application/json' -d '%s'", r.Listing())
	say("  bin/dlq-replayer jobs rehearse --id %s --reason 'is listing it enough?'", r.Letters[0].ID)
	say("  bin/dlq-replayer jobs run --id %s --reason 'the item is listed' --wait", r.Letters[0].ID)

	say("\nMend 2: edit the field. What was edited runs after a rehearsal only.\n")
	say("  echo '%s' |", r.Patch())
	say("    bin/dlq-replayer letters edit --id %s --patch - --reason 'the id lost a character'", r.Letters[1].ID)
	say("  bin/dlq-replayer jobs rehearse --id %s --reason 'is the edit right?'", r.Letters[1].ID)
	say("  bin/dlq-replayer jobs run --id %s --reason 'the id is whole' --wait", r.Letters[1].ID)

	say("\nNothing mends 3: its bytes never were the event that its header names. Read it, and decide that nobody needs it.\n")
	say("  bin/dlq-replayer letters show %s", r.Letters[2].ID)
	say("  bin/dlq-replayer letters discard --id %s --reason 'a test' --yes", r.Letters[2].ID)

	say("\nMend 4: edit it too. The order is a real one; its timeline shows the parcel once the letter is applied.\n")
	say("  echo '%s' |", r.Parcel())
	say("    bin/dlq-replayer letters edit --id %s --patch - --reason 'the id lost a character'", r.Letters[3].ID)
	say("  bin/dlq-replayer jobs rehearse --id %s --reason 'is the edit right?'", r.Letters[3].ID)
	say("  bin/dlq-replayer jobs run --id %s --reason 'the id is whole' --wait", r.Letters[3].ID)
	say("  curl -s %s/api/v1/orders/%s/timeline -H \"Authorization: Bearer $DLQ_REPLAYER_TOKEN\"", shop, r.Accepted)

	say("\n`make books` balances now, and again when 1 and 2 are mended: 1 books a unit, 2 gives it back. Nobody accepted their")
	say("order, so what inventory then says of it dies in the group order-api, within ten seconds; that is to be discarded:\n")
	say("  bin/dlq-replayer letters discard --group order-api --text %s --reason 'nobody accepted this order' --yes", r.Order)
	say("\nThe drill of docs/dead-letters.md goes through all this slowly, with these names:\n")
	say("  ONE=%s TWO=%s THREE=%s FOUR=%s", r.Letters[0].ID, r.Letters[1].ID, r.Letters[2].ID, r.Letters[3].ID)
	say("  ORDER=%s SKU=%s ACCEPTED=%s", r.Order, r.SKU, r.Accepted)
	return b.String()
}
