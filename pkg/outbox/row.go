package outbox

import (
	"database/sql"
	"fmt"
)

// columns are what scan reads.
const columns = `id, shard, created_at, occurred_at, version, event_id, type, topic, key, value, headers, traceparent, tracestate`

func scan(rows *sql.Rows) (row, error) {
	var r row
	var headers []byte
	err := rows.Scan(&r.id, &r.shard, &r.createdAt, &r.occurredAt, &r.Version, &r.ID, &r.Type, &r.Topic, &r.Key, &r.Value,
		&headers, &r.traceparent, &r.tracestate)
	if err != nil {
		return r, err
	}
	if r.Headers, err = DecodeHeaders(headers); err != nil {
		return r, fmt.Errorf("outbox row %d: %w", r.id, err)
	}
	return r, nil
}

// maxPageBytes bounds what one page holds in memory; a page has one row at least.
const maxPageBytes = 8 << 20

// pageOf is the query of a page: the first rows in id order of those that where selects, as many as fit. $1 is the
// most rows, $2 the most bytes. Sizes are known without fetching the values.
func pageOf(where string) string {
	return `SELECT ` + columns + ` FROM (
		SELECT *, sum(size) OVER (ORDER BY id) - size AS ahead FROM (
			SELECT *, coalesce(length(key), 0) + coalesce(length(value), 0) + length(headers) AS size
			FROM outbox WHERE ` + where + ` ORDER BY id LIMIT $1) sized) page
		WHERE ahead < $2 ORDER BY id`
}
