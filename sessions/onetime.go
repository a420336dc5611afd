package sessions

import (
	"context"
	"time"
)

// OneTime hands out sealed handles to records that can be taken once.
type OneTime[T any] struct {
	vault *Vault
	kind  Kind
	table string
	ttl   time.Duration
}

// NewOneTime keeps records of type T in a table of v for ttl, under handles of kind k. It panics
// if table has other characters than a-z, 0-9 and _, or if ttl is not positive: both are constants
// of the program.
func NewOneTime[T any](v *Vault, k Kind, table string, ttl time.Duration) *OneTime[T] {
	if err := checkTable(table); err != nil {
		panic(err)
	}
	if ttl <= 0 {
		panic("one-time records need a positive ttl")
	}
	return &OneTime[T]{vault: v, kind: k, table: "once_" + table, ttl: ttl}
}

// Issue stores value and returns its handle.
func (o *OneTime[T]) Issue(ctx context.Context, value T) (handleText string, err error) {
	h := handle{id: NewID(), expires: o.vault.now().Add(o.ttl)}
	if err := o.vault.put(ctx, o.key(h), value, o.ttl); err != nil {
		return "", err
	}
	return o.vault.sealHandle(o.kind, h)
}

// Load returns the record and leaves it where it is. The errors are those of [OneTime.Take].
func (o *OneTime[T]) Load(ctx context.Context, handleText string) (T, error) {
	var value T
	h, err := o.open(handleText)
	if err != nil {
		return value, err
	}
	err = o.vault.get(ctx, o.key(h), &value)
	return value, err
}

// Take returns the record to exactly one caller, on whichever replica. The error is [ErrInvalid], [ErrExpired],
// [ErrNotFound] if the record was taken before, or [ErrUnavailable].
func (o *OneTime[T]) Take(ctx context.Context, handleText string) (T, error) {
	var value T
	h, err := o.open(handleText)
	if err != nil {
		return value, err
	}
	key := o.key(h)
	sealed, err := o.vault.Store.Take(ctx, key)
	if err != nil {
		return value, storeError("taking a record", err)
	}
	err = o.vault.openRecord(key, sealed, &value)
	return value, err
}

func (o *OneTime[T]) open(handleText string) (handle, error) {
	h, err := o.vault.openHandle(o.kind, handleText)
	if err == nil && h.expired(o.vault.now()) {
		err = ErrExpired
	}
	return h, err
}

func (o *OneTime[T]) key(h handle) string { return o.vault.key(o.table, digest(h.id.String())) }
