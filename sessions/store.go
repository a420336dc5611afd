package sessions

import (
	"context"
	"strings"
	"time"
)

// Store keeps small sealed records. Implementations are safe for concurrent use, also by several
// processes on one backend.
//
// A record is visible to every replica once the call that wrote it has returned. Expired records
// are never returned; when they are deleted is the implementation's business. A write that
// returned an error may or may not have happened, but never in part.
//
// Keys consist of segments of [a-z0-9_], separated by "/". Whatever identifies a person or a
// token was hashed by the caller and values are sealed: an implementation may log and list keys,
// and keep both in the clear. Values are at most 128 KiB. Byte slices that are passed in or
// handed out are nobody else's afterwards: an implementation keeps copies.
//
// Errors other than [ErrNotFound] are taken for an outage, so they should name the cause; they
// must not contain values. Every method honours the context's end, also while it waits for a lock.
type Store interface {
	// Get returns the record under key, or ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)

	// Put writes a record, whatever was there. A ttl of 0 means that it never expires. It need not
	// wait for an Update of the same key; callers use one or the other for a key.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Take returns the record under key and deletes it. Of any number of concurrent calls, on any
	// number of replicas, exactly one gets the record; the others get ErrNotFound.
	Take(ctx context.Context, key string) ([]byte, error)

	// Update replaces the record under key by what fn makes of it, atomically with regard to every
	// other Update and Take of that key on any replica. fn gets nil when there is no record. It may
	// be called several times, by stores that are optimistic, so it has no effect but its results;
	// the record is what its last call returned. An error from fn writes nothing and is returned
	// as it is. A nil value deletes the record; a ttl of 0 means that it never expires. fn must
	// not call the store.
	Update(ctx context.Context, key string, fn func(old []byte) (value []byte, ttl time.Duration, err error)) error

	// Delete removes the record under key. It is no error if there is none.
	Delete(ctx context.Context, key string) error

	// List returns the keys of the live records below prefix, which ends in "/" (or is empty, for
	// all), in no particular order. "a/b/" is a prefix of "a/b/c" and of "a/b/c/d", not of "a/b"
	// or "a/bc". Nothing below prefix is no error.
	List(ctx context.Context, prefix string) ([]string, error)

	// Watch calls fn with every live record below prefix, then with each one that is written
	// later by any replica, at most two seconds after its Put or Update returned. A record may be
	// reported more than once; one written several times in that while may be reported once, as
	// it is then. Deletions are not reported. Calls of fn do not overlap. Watch blocks until ctx
	// is done, then it returns nil; it returns an error if it can keep its promise no more, and
	// the caller starts it again.
	Watch(ctx context.Context, prefix string, fn func(key string, value []byte)) error
}

// ValidKey reports whether key is one that a Store is given: segments of lower-case letters, digits and
// underscores with slashes between them. Nothing else may get into file names, patterns or channels.
func ValidKey(key string) bool {
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" {
			return false
		}
		for i := range len(segment) {
			if c := segment[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
				return false
			}
		}
	}
	return true
}
