// Package store keeps what order-api owns: orders, their items and payments, the allotments they are sold from, the
// read model of the catalogue and the timeline.
//
// It promises that an order is sold whole or not at all, that its status is written in one place only (moves.go), that
// units go back exactly once, and that every transaction locks orders by id first and allotments by sku after them.
package store

import (
	"context"
	"embed"
	"fmt"
	"time"

	"github.com/glebarez/sqlite"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

//go:embed migrations
var files embed.FS

// Migrations makes the store's tables.
var Migrations = database.Migrations{Owner: "order_api", Files: database.Folder(files, "migrations")}

// Store is order-api's database. GORM reads and hides on the pool that the bulk statements write on.
type Store struct {
	db    *database.DB
	gorm  *gorm.DB
	delay time.Duration // see DelayAccepts
}

// Open gives the store on db, whose tables Migrations made.
func Open(db *database.DB) (*Store, error) {
	var dialect gorm.Dialector = &sqlite.Dialector{Conn: db.DB}
	if db.Dialect == database.Postgres {
		dialect = postgres.New(postgres.Config{Conn: db.DB})
	}
	orm, err := gorm.Open(dialect, &gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true})
	if err != nil {
		return nil, fmt.Errorf("open the order store: %w", err)
	}
	return &Store{db: db, gorm: orm}, nil
}

// orm is GORM on the pool, for reads.
func (s *Store) orm(ctx context.Context) *gorm.DB { return s.gorm.WithContext(ctx) }

// ormTx is GORM inside tx.
func (s *Store) ormTx(ctx context.Context, tx *database.Tx) *gorm.DB {
	orm := s.gorm.Session(&gorm.Session{NewDB: true, Context: ctx, SkipDefaultTransaction: true})
	orm.Statement.ConnPool = tx.Tx
	return orm
}
