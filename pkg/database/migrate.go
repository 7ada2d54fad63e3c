package database

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	goosedb "github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
)

// Migrations is one owner's tables: a folder postgres/ and a folder sqlite/ of numbered goose files. Each owner has its
// own version table, so that a shared room and a service number theirs independently.
type Migrations struct {
	Owner string
	Files fs.FS
}

// versions is the table that tells how new the set's tables are.
func (m Migrations) versions() string { return "goose_" + m.Owner }

// Folder is dir of an embedded file system, for Migrations.
func Folder(files embed.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		panic(fmt.Sprintf("database: %s is no name of a folder: %v", dir, err))
	}
	return sub
}

// Migrate brings each owner's tables up to date, in the order given. Replicas may call it together: on Postgres a
// session lock lets one work while the others wait.
func Migrate(ctx context.Context, db *DB, sets ...Migrations) error {
	for _, set := range sets {
		if err := migrate(ctx, db, set); err != nil {
			return fmt.Errorf("migrate %s: %w", set.Owner, err)
		}
	}
	return nil
}

func migrate(ctx context.Context, db *DB, set Migrations) error {
	files, err := fs.Sub(set.Files, string(db.Dialect))
	if err != nil {
		return err
	}
	dialect := goose.DialectPostgres
	var options []goose.ProviderOption
	if db.Dialect == SQLite {
		dialect = goose.DialectSQLite3
		db.writer.Lock()
		defer db.writer.Unlock()
	} else {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	store, err := goosedb.NewStore(dialect, set.versions())
	if err != nil {
		return err
	}
	p, err := goose.NewProvider("", db.DB, files, append(options, goose.WithStore(store))...)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}
