package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Remote asks an issuer for what it publishes, with the care that sign-in takes: answers and
// redirects are limited, requests end in time, and errors hold nothing that the other side has
// worded. It is safe for concurrent use.
type Remote struct {
	client *http.Client
	now    func() time.Time
}

// NewRemote returns a Remote with the transport and the timeout of base and the clock now; both may
// be nil.
func NewRemote(base *http.Client, now func() time.Time) *Remote {
	if now == nil {
		now = time.Now
	}
	return &Remote{client: newClient(base), now: now}
}

// Get decodes the JSON document at address.
func (r *Remote) Get(ctx context.Context, address string, into any) error {
	return fetchJSON(ctx, r.client, address, "", into)
}

// Post sends a form and decodes the JSON answer. prepare may add credentials to the request. It is
// never redirected.
func (r *Remote) Post(ctx context.Context, address string, form url.Values, prepare func(*http.Request), into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return errors.New("not a usable address")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if prepare != nil {
		prepare(req)
	}
	return doJSON(r.client, req, into)
}

// Kept is a document that an issuer publishes: fetched when it is first needed, by one caller for
// all, kept, and fetched anew in the background now and then.
type Kept[T any] struct {
	document document[T]
	renewal  time.Duration
}

// Keep returns a document that fetch gets, and that is older than renewal only while the issuer cannot
// be asked.
func Keep[T any](r *Remote, renewal time.Duration, fetch func(context.Context) (T, error)) *Kept[T] {
	return &Kept[T]{document: document[T]{fetch: fetch, now: r.now}, renewal: renewal}
}

// Get returns the document. An error is remembered for a few seconds.
func (k *Kept[T]) Get(ctx context.Context) (T, error) {
	e, err := k.document.get(ctx, anyAge)
	if err == nil && k.document.now().Sub(e.at) > k.renewal {
		k.document.renew(ctx, k.renewal)
	}
	return e.value, err
}

// keysRenewal is at what age the keys are fetched anew in the background, long before they have to
// be: an issuer may be out of reach for the rest of keysLife without anybody noticing.
const keysRenewal = 10 * time.Minute

// KeySet is the key set of an issuer. A key that the issuer has withdrawn is accepted for an hour at
// most; one that it has begun to use is found at its first signature.
type KeySet struct{ keys *keySet }

// Keys returns the key set at address. Nothing is fetched yet.
func (r *Remote) Keys(address string) *KeySet {
	return &KeySet{&keySet{document: document[[]jose.JSONWebKey]{
		now: r.now,
		fetch: func(ctx context.Context) ([]jose.JSONWebKey, error) {
			return fetchKeys(func(into any) error { return r.Get(ctx, address, into) })
		},
	}}}
}

// Fitting returns the keys that may have made a signature with this header: those with its key id, if
// it names one, and for its algorithm. Where there is none, the set is fetched once more, unless it
// was in the last 30 seconds. No key is no error. The error wraps [ErrUnavailable].
func (s *KeySet) Fitting(ctx context.Context, header jose.Header) ([]jose.JSONWebKey, error) {
	for _, maxAge := range []time.Duration{keysLife, keysRest} {
		e, err := s.keys.document.get(ctx, maxAge)
		if err != nil {
			return nil, fmt.Errorf("%w: reading the issuer's keys: %w", ErrUnavailable, err)
		}
		var fitting []jose.JSONWebKey
		for _, key := range e.value {
			if fits(key, header) {
				fitting = append(fitting, key)
			}
		}
		if len(fitting) > 0 {
			if s.keys.document.now().Sub(e.at) > keysRenewal {
				s.keys.document.renew(ctx, keysRenewal)
			}
			return fitting, nil
		}
	}
	return nil, nil
}

// CheckEndpoint tells why address cannot be asked with secrets in the request: it has to be an https
// URL, or an http one on loopback.
func CheckEndpoint(address string) error { return checkURL(address, true) }

// CheckAlgorithm tells why a signature algorithm is not accepted, whatever a configuration says.
func CheckAlgorithm(name string) error {
	for _, safe := range safeAlgorithms {
		if name == safe {
			return nil
		}
	}
	return fmt.Errorf("algorithm %q is not supported; use one of %s", name, strings.Join(safeAlgorithms, ", "))
}
