// Package grpcapi answers what people ask of inventory. An answer that says a change was made is durable.
package grpcapi

import (
	"context"

	"github.com/floodgate-dev/floodgate/pkg/database"
	stockv1 "github.com/floodgate-dev/floodgate/proto/floodgate/stock/v1"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/stock"
	"github.com/floodgate-dev/floodgate/services/inventory/internal/store"
)

// Server is the InventoryService.
type Server struct {
	stockv1.UnimplementedInventoryServiceServer
	DB *database.DB
}

// PutItem lists an item or changes it.
func (s Server) PutItem(ctx context.Context, r *stockv1.PutItemRequest) (*stockv1.PutItemResponse, error) {
	item := stock.Item{
		SKU: r.GetSkuId(), Name: r.GetName(), UnitPrice: stock.Cents(r.GetUnitPriceCents()), Currency: r.GetCurrency(),
		PerCustomerLimit: r.GetPerCustomerLimit(),
	}
	if err := firstOf(item.Check(), stock.CheckBy(r.GetBy())); err != nil {
		return nil, fail(ctx, err)
	}
	version, err := store.PutItem(ctx, s.DB, item, r.GetBy())
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &stockv1.PutItemResponse{Version: version}, nil
}

// RetireItem stops the sale of an item.
func (s Server) RetireItem(ctx context.Context, r *stockv1.RetireItemRequest) (*stockv1.RetireItemResponse, error) {
	if err := firstOf(stock.CheckSKU(r.GetSkuId()), stock.CheckBy(r.GetBy())); err != nil {
		return nil, fail(ctx, err)
	}
	version, err := store.RetireItem(ctx, s.DB, r.GetSkuId(), r.GetBy())
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &stockv1.RetireItemResponse{Version: version}, nil
}

// ChangeStock adds or removes units, once per request id.
func (s Server) ChangeStock(ctx context.Context, r *stockv1.ChangeStockRequest) (*stockv1.ChangeStockResponse, error) {
	change := stock.Change{
		SKU: r.GetSkuId(), Request: r.GetRequestId(), Units: stock.Units(r.GetUnitsDelta()), Reason: r.GetReason(), By: r.GetBy(),
	}
	if err := change.Check(); err != nil {
		return nil, fail(ctx, err)
	}
	levels, err := store.ChangeStock(ctx, s.DB, change)
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &stockv1.ChangeStockResponse{Stock: shown(change.SKU, levels)}, nil
}

// GetStock counts one item's units.
func (s Server) GetStock(ctx context.Context, r *stockv1.GetStockRequest) (*stockv1.GetStockResponse, error) {
	if err := stock.CheckSKU(r.GetSkuId()); err != nil {
		return nil, fail(ctx, err)
	}
	levels, err := store.Levels(ctx, s.DB, r.GetSkuId())
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &stockv1.GetStockResponse{Stock: shown(r.GetSkuId(), levels)}, nil
}

func shown(sku string, l stock.Levels) *stockv1.Stock {
	return &stockv1.Stock{
		SkuId: sku, OnHandUnits: int64(l.OnHand), UngrantedUnits: int64(l.Ungranted),
		GrantedUnsoldUnits: int64(l.GrantedUnsold), BookedUnits: int64(l.Booked),
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
