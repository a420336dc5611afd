// Package credentials puts a person's own credential on the requests that reach the upstream of a
// resource: a token that they typed in, or one that the upstream's authorization server issued for them.
// It keeps, caches and refreshes them, and tells callers that have none where to go. A credential goes
// to the upstream of its resource, in requests of its person, and nowhere else. The package knows nothing
// of Caddy, of pages or of how people sign in.
package credentials

import (
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Why a request gets no credential. Errors of the store are those of sessions.
var (
	// ErrMissing means that the person has none yet.
	ErrMissing = errors.New("no credential")
	// ErrEnded means that it cannot be refreshed any more: the person has to connect again.
	ErrEnded = errors.New("credential has ended")
	// ErrRejected means that the upstream does not take it, and that no newer one is to be had.
	ErrRejected = errors.New("credential rejected by the upstream")
	// ErrServerDown means that the upstream's authorization server gives no answer now.
	ErrServerDown = oauthclient.ErrServerDown
)

// Upstream is what stands behind one resource and wants a credential of each person.
type Upstream struct {
	// Resource is the resource's identifier; Name is what people call it, and may be empty.
	Resource, Name string

	// Header is how it gets the credential.
	Header Header

	// Hint tells people where they get one. May be empty.
	Hint string

	// OAuth is how people connect their account there. Nil: they type a token in.
	OAuth *oauthclient.Client

	// RedirectURI is where its authorization server sends the browser back to. No two upstreams have the
	// same, so that an answer of one never passes for another's (RFC 9700, section 4.4).
	RedirectURI string
}

// title is what people call it.
func (u *Upstream) title() string {
	if u.Name != "" {
		return u.Name
	}
	return u.Resource
}

// source tells where its credentials come from. One from elsewhere, from before the configuration was
// changed, is none.
func (u *Upstream) source() string {
	if u.OAuth == nil {
		return ""
	}
	return u.OAuth.Source()
}

const (
	// unusedLife is for how long a credential is kept that nobody uses: one of somebody who left does not
	// lie there for ever.
	unusedLife = 90 * 24 * time.Hour
	// useNoted is how exactly it is known when a credential was used.
	useNoted = 24 * time.Hour

	// fresh is for how long a copy is used without asking the store; a change is heard of before that.
	// stale is for how long it is while the store cannot be asked.
	fresh = time.Minute
	stale = 10 * time.Minute
	// superseded is for how long replicas are told of a change: longer than any copy lives.
	superseded = stale + 5*time.Minute

	// maxCached bounds the copies of one site.
	maxCached = 4096
)

// Config is what a Keeper is made of.
type Config struct {
	Vault  *sessions.Vault
	Audit  audit.Recorder
	Logger *zap.Logger
	Now    func() time.Time
}

// Keeper keeps the credentials of one site's people. It is safe for concurrent use.
type Keeper struct {
	Config
	cache    *cache
	loads    singleflight.Group
	renewals singleflight.Group
	connects *sessions.OneTime[connect]
}

// New makes a keeper. It does no I/O.
func New(c Config) *Keeper {
	return &Keeper{
		Config:   c,
		cache:    newCache(maxCached),
		connects: sessions.NewOneTime[connect](c.Vault, sessions.ConnectState, "connect", connectLife),
	}
}
