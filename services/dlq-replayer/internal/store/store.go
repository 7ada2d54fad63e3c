// Package store keeps dead letters, their failures and their causes.
//
// It promises that a letter is stored as it came, that a death which is told twice counts once, that a letter which dies
// again is one letter with a longer history, and that a cause's count is the number of its dead letters in every snapshot.
package store

import (
	"embed"
	"errors"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

//go:embed migrations
var files embed.FS

// Migrations are the replayer's tables.
var Migrations = database.Migrations{Owner: "dlq_replayer", Files: database.Folder(files, "migrations")}

// ErrNotFound says that there is no such letter or cause.
var ErrNotFound = errors.New("not found")

// Store reads and writes one database.
type Store struct{ DB *database.DB }
