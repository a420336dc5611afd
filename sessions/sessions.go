// Package sessions seals, opens and remembers what a signed-in person holds: access and refresh
// tokens, authorization codes, grants, browser sessions. It knows nothing of HTTP routes, Caddy or
// identity providers; callers give it a clock, a key ring and a Store.
//
// Three parts build on each other. A [Ring] holds the keys and turns bytes into sealed text and
// back, without a lock and without I/O. A [Store] keeps small records for all replicas. A [Vault]
// joins the two for one tenant: it issues what clients and browsers hold, and keeps at rest only
// sealed records under hashed keys, so that a copy of the store is worth nothing to who reads it.
//
// A tenant is an issuer, such as "https://mcp.example.com". What was sealed for one tenant opens
// at no other, even if both share a ring and a store.
package sessions

import (
	"errors"
	"fmt"
)

// What became of a sealed value or a record. They are compared with [errors.Is].
var (
	// ErrInvalid means malformed, forged, or sealed for another kind or tenant, or with a key this ring does not hold.
	ErrInvalid = errors.New("not a valid sealed value")
	// ErrExpired means genuine, but its time is over.
	ErrExpired = errors.New("expired")
	// ErrRevoked means genuine, but ended before its time.
	ErrRevoked = errors.New("revoked")
	// ErrReused means that a thing for one use was presented once more.
	ErrReused = errors.New("used before")
	// ErrOtherResource means a token that is good, but not for the resource it was presented at.
	ErrOtherResource = errors.New("token of other resources")
	// ErrNotFound means that there is no such record, or no more.
	ErrNotFound = errors.New("no such record")
	// ErrUnavailable means that nothing can be said now: the store fails, or the key ring or the
	// revocations are not loaded. It wraps the cause; trying again later makes sense.
	ErrUnavailable = errors.New("temporarily unavailable")
)

// unavailable wraps the cause of an outage, so that callers can tell it from a refusal.
func unavailable(doing string, cause error) error {
	return fmt.Errorf("%s: %w: %w", doing, ErrUnavailable, cause)
}
