package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// mostKinds bounds how many kinds of error a census tells apart; letters of the others are counted together.
const mostKinds = 50

// Kind is a group's dead letters of one kind of error.
type Kind struct {
	Group, Kind string
	Dead        int64 // letters that are dead now
	Causes      int64 // that were ever met
	NewestMS    int64 // when the newest cause was first met
}

// Kinds counts dead letters by group and kind of error, from what causes keep count of: the most numerous, and the rest of
// each group as the kind "other".
func (s Store) Kinds(ctx context.Context) ([]Kind, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT k.consumer_group, CASE WHEN k.n <= $1 THEN k.error_kind ELSE 'other' END AS kind,
			CAST(SUM(k.dead) AS bigint), CAST(SUM(k.causes) AS bigint), MAX(k.newest)
		FROM (SELECT consumer_group, error_kind, SUM(dead) AS dead, count(*) AS causes, MAX(first_seen_at) AS newest,
				row_number() OVER (ORDER BY SUM(dead) DESC, consumer_group, error_kind) AS n
			FROM causes GROUP BY consumer_group, error_kind) k
		GROUP BY 1, 2`, mostKinds)
	kinds, err := database.Collect(rows, err, func(rows *sql.Rows) (k Kind, err error) {
		err = rows.Scan(&k.Group, &k.Kind, &k.Dead, &k.Causes, &k.NewestMS)
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	return kinds, nil
}

// Oldest is when the dead letter of each group that was collected first was collected, and the database's time.
func (s Store) Oldest(ctx context.Context) (byGroup map[string]int64, nowMS int64, err error) {
	byGroup = map[string]int64{}
	rows, err := s.DB.QueryContext(ctx, `SELECT g.consumer_group, (SELECT min(l.collected_at) FROM letters l
			WHERE l.consumer_group = g.consumer_group AND l.state = 'dead'), `+s.DB.Dialect.NowMS()+`
		FROM (SELECT DISTINCT consumer_group FROM causes WHERE dead > 0) g`)
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (group string, err error) {
		var at sql.NullInt64
		err = rows.Scan(&group, &at, &nowMS)
		if at.Valid {
			byGroup[group] = at.Int64
		}
		return group, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("find the oldest dead letters: %w", err)
	}
	return byGroup, nowMS, nil
}
