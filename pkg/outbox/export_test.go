package outbox

// What tests of the package's promises look at from outside.
var (
	SweepOnce = sweepOnce
)

// Owned is how many shards a session holds by its locks, by the process id of its connection.
const Owned = `SELECT pid, count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
	AND classid = 1718382447 AND objid < 16 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
	GROUP BY pid`
