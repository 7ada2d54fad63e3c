package gate

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/redis/go-redis/v9"
)

// The keys of one sku share a slot of a Cluster. The counter is a plain number that people can read; the epoch changes
// whenever the counter is set from the database; an operation's key says that it took its units, and under which epoch.
func keys(sku string) []string {
	k := "stock:{" + sku + "}"
	return []string{k, k + ":epoch"}
}

// operationKeys are those of sku and of what op takes from it.
func operationKeys(sku, op string) []string {
	k := keys(sku)
	return append(k, operationKey(k[0], op))
}

// operationKey hashes op, which is made of what callers send and may hold anything.
func operationKey(counter, op string) string {
	sum := sha256.Sum256([]byte(op))
	var digits [24]byte
	hex.Encode(digits[:], sum[:12])
	return counter + ":op:" + string(digits[:])
}

// counter is the number behind KEYS[1]; nil when it is missing or is no number, which is the same to us.
const counter = `
local function counter()
	local v = redis.pcall('GET', KEYS[1])
	if type(v) == 'string' and string.match(v, '^%d+$') then return tonumber(v) end
	return nil
end
local function epoch()
	local v = redis.pcall('GET', KEYS[2])
	return type(v) == 'string' and v or ''
end
`

// Answers of takeScript.
const (
	unknown   = -1 // the script did not answer
	soldOut   = 0
	taken     = 1
	already   = 2
	notLoaded = 3
)

// takeScript takes units for many operations, in their order: behind each three KEYS are a counter, its epoch and the
// operation, and ARGV has its units from the second on. An operation takes once from one epoch: a repeat within ARGV[1]
// milliseconds takes no second unit, but for a counter that was set from the database since, where what it took is missing no
// more. It answers a verdict and what is left for each. Operations on one counter that follow each other read and
// lower it once.
var takeScript = redis.NewScript(`
local answers, at, left, low, epoch = {}, nil, nil, 0, ''
local function lower()
	if low > 0 then redis.call('DECRBY', at, low) end
	low = 0
end
for i = 1, #KEYS, 3 do
	if KEYS[i] ~= at then
		lower()
		at = KEYS[i]
		local v = redis.pcall('GET', at)
		left = type(v) == 'string' and string.match(v, '^%d+$') and tonumber(v) or nil
		local e = redis.pcall('GET', KEYS[i + 1])
		epoch = type(e) == 'string' and e or ''
	end
	local n, verdict = (i + 2) / 3, 1
	local units = tonumber(ARGV[n + 1])
	local took = redis.pcall('GET', KEYS[i + 2])
	if not left then verdict = 3
	elseif type(took) == 'string' and string.match(took, '@(.*)$') == epoch then verdict = 2
	elseif left < units then verdict = 0
	else
		redis.call('SET', KEYS[i + 2], ARGV[n + 1] .. '@' .. epoch, 'PX', ARGV[1])
		left, low = left - units, low + units
	end
	answers[2 * n - 1], answers[2 * n] = verdict, left or 0
end
lower()
return answers
`)

// giveBackScript returns what the operation behind KEYS[3] took, once, and only to the counter it was taken from: one
// that was set from the database since then counts these units already. It answers 1 for given back, 0 for nothing to give,
// and staleEpoch.
var giveBackScript = redis.NewScript(counter + `
local took = redis.pcall('GET', KEYS[3])
if type(took) ~= 'string' then return 0 end
redis.call('DEL', KEYS[3])
local units, from = string.match(took, '^(%d+)@(.*)$')
if not units or not counter() then return 0 end
if from ~= epoch() then return -1 end
redis.call('INCRBY', KEYS[1], units)
return 1
`)

// staleEpoch is giveBackScript's answer to an operation of an epoch that is over.
const staleEpoch = -1

// loadScript sets the counter to ARGV[1] under the epoch ARGV[2] where there is none.
var loadScript = redis.NewScript(counter + `
if counter() then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2])
return 1
`)

// correctScript sets the counter to ARGV[1] under the epoch ARGV[2], if the epoch is still ARGV[3]: what was read from
// the database is older than a counter set since. It lowers a counter always, and raises it only from ARGV[4], where an
// empty word stands for any: units that are under way are missing in the counter and not yet in the database.
var correctScript = redis.NewScript(counter + `
local left = counter()
local want = tonumber(ARGV[1])
if not left or left == want or epoch() ~= ARGV[3] then return 0 end
if left < want and ARGV[4] ~= '' and left ~= tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2])
return 1
`)
