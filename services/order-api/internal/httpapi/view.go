package httpapi

import (
	"time"

	shipmentv1 "github.com/floodgate-dev/floodgate/proto/floodgate/shipment/v1"
	"github.com/floodgate-dev/floodgate/services/order-api/internal/order"
)

// orderView is an order as callers see it.
type orderView struct {
	ID         string            `json:"id"`
	UserID     string            `json:"userId"`
	Status     order.Status      `json:"status"`
	Payment    order.PaymentMode `json:"payment"`
	PaymentRef string            `json:"paymentRef,omitempty"`
	Items      []lineView        `json:"items"`
	TotalCents order.Cents       `json:"totalCents"`
	Currency   string            `json:"currency"`
	Reference  string            `json:"reference,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Version    int64             `json:"version"`
	CreatedAt  time.Time         `json:"createdAt"`
	UpdatedAt  time.Time         `json:"updatedAt"`
	ExpiresAt  *time.Time        `json:"expiresAt,omitempty"`
	Reason     string            `json:"reason,omitempty"`
}

type lineView struct {
	SkuID          string      `json:"skuId"`
	Quantity       int64       `json:"quantity"`
	UnitPriceCents order.Cents `json:"unitPriceCents"`
}

func viewOrder(o order.Order) orderView {
	v := orderView{
		ID: o.ID, UserID: o.UserID, Status: o.Status, Payment: o.Payment, PaymentRef: o.PaymentRef, Items: []lineView{},
		TotalCents: o.TotalCents, Currency: o.Currency, Reference: o.Reference, Metadata: o.Metadata, Version: o.Version,
		CreatedAt: o.CreatedAt.UTC(), UpdatedAt: o.UpdatedAt.UTC(), Reason: o.Reason,
	}
	for _, item := range o.Items {
		v.Items = append(v.Items, lineView(item))
	}
	if !o.ExpiresAt.IsZero() {
		at := o.ExpiresAt.UTC()
		v.ExpiresAt = &at
	}
	return v
}

// itemView is an item as callers see it.
type itemView struct {
	SkuID            string      `json:"skuId"`
	Name             string      `json:"name"`
	UnitPriceCents   order.Cents `json:"unitPriceCents"`
	Currency         string      `json:"currency"`
	PerCustomerLimit int64       `json:"perCustomerLimit,omitempty"`
	Available        int64       `json:"available"`
}

func viewItem(i order.CatalogueItem) itemView {
	return itemView{i.SkuID, i.Name, i.UnitPriceCents, i.Currency, i.PerCustomerLimit, i.Available}
}

// entryView is one line of a timeline.
type entryView struct {
	At      time.Time `json:"at"`
	Service string    `json:"service"`
	What    string    `json:"what"`
	By      string    `json:"by"`
	Detail  string    `json:"detail,omitempty"`
}

func viewEntry(e order.Entry) entryView {
	return entryView{e.At.UTC(), e.Service, e.What, e.By, e.Detail}
}

// shipmentView is a shipment as callers see it.
type shipmentView struct {
	ID         string `json:"id"`
	OrderID    string `json:"orderId"`
	Status     string `json:"status"`
	Carrier    string `json:"carrier,omitempty"`
	TrackingNo string `json:"trackingNo,omitempty"`
}

// shipmentWords are the states of a shipment as callers see them.
var shipmentWords = map[shipmentv1.ShipmentStatus]string{
	shipmentv1.ShipmentStatus_SHIPMENT_STATUS_CREATED:    "created",
	shipmentv1.ShipmentStatus_SHIPMENT_STATUS_SHIPPED:    "shipped",
	shipmentv1.ShipmentStatus_SHIPMENT_STATUS_DELIVERED:  "delivered",
	shipmentv1.ShipmentStatus_SHIPMENT_STATUS_CALLED_OFF: "called-off",
}

func viewShipment(s *shipmentv1.Shipment) shipmentView {
	return shipmentView{s.GetId(), s.GetOrderId(), shipmentWords[s.GetStatus()], s.GetCarrier(), s.GetTrackingNo()}
}
