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

// operationKeys hashes op, which is made of what callers send and may hold anything.
func operationKeys(sku, op string) []string {
	k := keys(sku)
	sum := sha256.Sum256([]byte(op))
	return append(k, k[0]+":op:"+hex.EncodeToString(sum[:12]))
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
	soldOut   = 0
	taken     = 1
	already   = 2
	notLoaded = 3
)

// takeScript takes ARGV[1] units for the operation behind KEYS[3], once: a repeat within ARGV[2] milliseconds takes no
// second unit. It answers a verdict and what is left.
var takeScript = redis.NewScript(counter + `
if redis.call('EXISTS', KEYS[3]) == 1 then return {2, 0} end
local left = counter()
if not left then return {3, 0} end
local units = tonumber(ARGV[1])
if left < units then return {0, left} end
redis.call('DECRBY', KEYS[1], units)
redis.call('SET', KEYS[3], ARGV[1] .. '@' .. epoch(), 'PX', ARGV[2])
return {1, left - units}
`)

// giveBackScript returns what the operation behind KEYS[3] took, once, and only to the counter it was taken from: one
// that was set from the database since then counts these units already.
var giveBackScript = redis.NewScript(counter + `
local took = redis.pcall('GET', KEYS[3])
if type(took) ~= 'string' then return 0 end
redis.call('DEL', KEYS[3])
local units, from = string.match(took, '^(%d+)@(.*)$')
if not units or from ~= epoch() or not counter() then return 0 end
redis.call('INCRBY', KEYS[1], units)
return 1
`)

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
