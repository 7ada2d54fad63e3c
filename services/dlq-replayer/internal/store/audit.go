package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

// Entry is one row of the audit.
type Entry struct {
	N       int64           `json:"n"`
	AtMS    int64           `json:"at"`
	Who     string          `json:"who"`
	Action  string          `json:"action"`
	Subject string          `json:"subject"` // a job, a letter, a cause, or a selection
	Reason  string          `json:"reason"`
	Detail  json.RawMessage `json:"detail"`
	Hash    string          `json:"-"`
}

// Deed is what somebody does, for the audit.
type Deed struct {
	Who, Action, Subject, Reason string
	Detail                       any // marshalled as JSON
}

// hash chains e to the entry before it.
func (e Entry) hash(before string) (string, error) {
	text, err := json.Marshal([]any{e.N, e.AtMS, e.Who, e.Action, e.Subject, e.Reason, string(e.Detail)})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(before), text...))
	return hex.EncodeToString(sum[:]), nil
}

// auditTx appends what was done in the transaction that does it. The head is locked last, whatever else the transaction
// holds, so that nobody who waits for it holds what its owner needs.
func auditTx(ctx context.Context, tx *database.Tx, d Deed) error {
	detail, err := json.Marshal(d.Detail)
	if err != nil {
		return fmt.Errorf("audit %s: %w", d.Action, err)
	}
	e := Entry{Who: d.Who, Action: d.Action, Subject: d.Subject, Reason: d.Reason, Detail: detail}
	var before string
	err = tx.QueryRowContext(ctx, `SELECT n, hash, `+tx.Dialect.NowMS()+` FROM audit_head`+tx.Dialect.ForUpdate()).Scan(&e.N, &before, &e.AtMS)
	if err != nil {
		return fmt.Errorf("audit %s: %w", d.Action, err)
	}
	e.N++
	if e.Hash, err = e.hash(before); err != nil {
		return fmt.Errorf("audit %s: %w", d.Action, err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO audit (n, at, who, action, subject, reason, detail, hash)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, e.N, e.AtMS, e.Who, e.Action, e.Subject, e.Reason, string(detail), e.Hash); err != nil {
		return fmt.Errorf("audit %s: %w", d.Action, err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE audit_head SET n = $1, hash = $2`, e.N, e.Hash); err != nil {
		return fmt.Errorf("audit %s: %w", d.Action, err)
	}
	return nil
}

// Audit is a page of entries, the newest first, before the entry with the number before; 0 for the newest page.
func (s Store) Audit(ctx context.Context, before int64, limit int) ([]Entry, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT n, at, who, action, subject, reason, detail, hash FROM audit
		WHERE n < $1 OR $1 = 0 ORDER BY n DESC LIMIT $2`, before, limit)
	found, err := database.Collect(rows, err, scanEntry)
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	return found, nil
}

func scanEntry(rows *sql.Rows) (e Entry, err error) {
	var detail string
	err = rows.Scan(&e.N, &e.AtMS, &e.Who, &e.Action, &e.Subject, &e.Reason, &detail, &e.Hash)
	e.Detail = json.RawMessage(detail)
	return e, err
}

// Verdict is what a look at the whole audit found. Broken is "" when every row is there and as it was written.
type Verdict struct {
	Entries int64  `json:"entries"`
	Head    string `json:"head"` // hash of the last entry: kept elsewhere, it proves this one later
	Broken  string `json:"broken,omitempty"`
}

// VerifyAudit reads every row and reckons the chain anew, in one snapshot of the database.
func (s Store) VerifyAudit(ctx context.Context) (v Verdict, err error) {
	tx, err := s.DB.BeginTx(ctx, &sql.TxOptions{ReadOnly: s.DB.Dialect == database.Postgres, Isolation: snapshot(s.DB.Dialect)})
	if err != nil {
		return v, fmt.Errorf("verify the audit: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	var last int64
	if err := tx.QueryRowContext(ctx, `SELECT n, hash FROM audit_head`).Scan(&last, &v.Head); err != nil {
		return v, fmt.Errorf("verify the audit: %w", err)
	}
	rows, err := tx.QueryContext(ctx, `SELECT n, at, who, action, subject, reason, detail, hash FROM audit ORDER BY n`)
	before := ""
	_, err = database.Collect(rows, err, func(rows *sql.Rows) (none struct{}, err error) {
		e, err := scanEntry(rows)
		if err != nil || v.Broken != "" {
			return none, err
		}
		want, err := e.hash(before)
		if err != nil {
			return none, err
		}
		switch v.Entries++; {
		case e.N != v.Entries:
			v.Broken = fmt.Sprintf("entry %d is missing", v.Entries)
		case e.Hash != want:
			v.Broken = fmt.Sprintf("entry %d was changed", e.N)
		}
		before = e.Hash
		return none, nil
	})
	if err != nil {
		return v, fmt.Errorf("verify the audit: %w", err)
	}
	if v.Broken == "" && (v.Entries != last || before != v.Head) {
		v.Broken = fmt.Sprintf("there are %d entries and were %d", v.Entries, last)
	}
	return v, nil
}

// snapshot lets one transaction see one moment.
func snapshot(d database.Dialect) sql.IsolationLevel {
	if d == database.Postgres {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault
}

// Note tells the audit of something that changes nothing, such as an export.
func (s Store) Note(ctx context.Context, d Deed) error {
	return s.DB.Tx(ctx, func(tx *database.Tx) error { return auditTx(ctx, tx, d) })
}
