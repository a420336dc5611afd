package sessions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// recordVersion stands before every record at rest.
	recordVersion = 1
	// maxRecord bounds one record, so that nobody's oversized input fills the store.
	maxRecord = 64 << 10
)

// Vault is one tenant's sealed records in a store. Its methods are safe for concurrent use; its
// fields are not changed after the first call.
type Vault struct {
	Ring        *Ring
	Store       Store
	Revocations *Revocations
	// Tenant is the issuer, such as "https://mcp.example.com".
	Tenant string
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// SealJSON seals value as a text of kind k that holds all of it; nothing is stored.
func (v *Vault) SealJSON(k Kind, value any) (string, error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("encoding a sealed value: %w", err)
	}
	return v.Ring.Seal(k, v.Tenant, plain)
}

// OpenJSON opens what [Vault.SealJSON] sealed. The error is [ErrInvalid] or [ErrUnavailable].
func (v *Vault) OpenJSON(k Kind, sealed string, into any) error {
	plain, err := v.Ring.Open(k, v.Tenant, sealed)
	if err != nil {
		return err
	}
	if json.Unmarshal(plain, into) != nil {
		return ErrInvalid
	}
	return nil
}

// Spend marks id as used until ttl is over. Of any number of callers, on any number of replicas,
// one gets nil and the others get [ErrReused].
func (v *Vault) Spend(ctx context.Context, table string, id string, ttl time.Duration) error {
	if err := checkTable(table); err != nil {
		return err
	}
	if ttl <= 0 {
		return ErrExpired
	}
	return v.update(ctx, "marking as used", v.key("spent_"+table, digest(id)), func(old []byte) ([]byte, time.Duration, error) {
		if old != nil {
			return nil, 0, ErrReused
		}
		return []byte{recordVersion}, ttl, nil
	})
}

func (v *Vault) now() time.Time {
	if v.Now == nil {
		return time.Now()
	}
	return v.Now()
}

func (v *Vault) revoked(id ID) bool {
	return v.Revocations != nil && v.Revocations.Revoked(id)
}

// key names a record of this tenant. Every part is a hash or a constant.
func (v *Vault) key(table, id string) string {
	tenant := sha256.Sum256([]byte(v.Tenant))
	return hex.EncodeToString(tenant[:8]) + "/" + table + "/" + id
}

// digest hides an id in a store key.
func digest(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

func checkTable(table string) error {
	for i := range len(table) {
		if c := table[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return fmt.Errorf("naming a table: %q has characters other than a-z, 0-9 and _", table)
		}
	}
	if table == "" {
		return errors.New("naming a table: the name is empty")
	}
	return nil
}

func (v *Vault) sealRecord(key string, value any) ([]byte, error) {
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	if len(encoded) > maxRecord {
		return nil, fmt.Errorf("encoding a record: %d bytes are more than the %d allowed", len(encoded), maxRecord)
	}
	return v.Ring.SealRecord(v.Tenant, key, append([]byte{recordVersion}, encoded...))
}

func (v *Vault) openRecord(key string, sealed []byte, into any) error {
	plain, err := v.Ring.OpenRecord(v.Tenant, key, sealed)
	if err != nil {
		return err
	}
	if len(plain) == 0 || plain[0] != recordVersion || json.Unmarshal(plain[1:], into) != nil {
		return ErrInvalid
	}
	return nil
}

// get loads a record. The error is ErrNotFound, ErrInvalid or ErrUnavailable.
func (v *Vault) get(ctx context.Context, key string, into any) error {
	sealed, err := v.Store.Get(ctx, key)
	if err != nil {
		return storeError("loading a record", err)
	}
	return v.openRecord(key, sealed, into)
}

// put stores a record, sealed.
func (v *Vault) put(ctx context.Context, key string, value any, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("storing a record: %w", ErrExpired)
	}
	sealed, err := v.sealRecord(key, value)
	if err != nil {
		return err
	}
	if err := v.Store.Put(ctx, key, sealed, ttl); err != nil {
		return unavailable("storing a record", err)
	}
	return nil
}

// update is Store.Update that tells a refusal by fn from an outage.
func (v *Vault) update(ctx context.Context, doing, key string, fn func(old []byte) ([]byte, time.Duration, error)) error {
	var refused error
	err := v.Store.Update(ctx, key, func(old []byte) (value []byte, ttl time.Duration, err error) {
		value, ttl, refused = fn(old)
		return value, ttl, refused
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		return unavailable(doing, err)
	}
	return nil
}

func storeError(doing string, err error) error {
	if errors.Is(err, ErrNotFound) {
		return ErrNotFound
	}
	return unavailable(doing, err)
}
