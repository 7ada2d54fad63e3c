// Package store keeps items, their units and the bookings of orders.
//
// It promises that every unit on hand is ungranted, granted and unsold, or booked in every snapshot; that a request and
// an order's news move the units once, however often and in whatever order they come; and that what changes is announced
// by the transaction that changes it.
//
// Law 6: a transaction locks bookings sorted by order, then stock sorted by item, each before the rows of the next.
package store

import (
	"embed"
	"errors"

	"github.com/floodgate-dev/floodgate/pkg/database"
)

//go:embed migrations
var files embed.FS

// Migrations are the tables of inventory.
var Migrations = database.Migrations{Owner: "inventory", Files: database.Folder(files, "migrations")}

// ErrUnknownItem says that an item was never listed. For an order's event it may pass: listing the item cures it.
var ErrUnknownItem = errors.New("unknown item")

// ErrOtherChange says that a request's name was used for another change of the same item.
var ErrOtherChange = errors.New("the request id was used for another change")
