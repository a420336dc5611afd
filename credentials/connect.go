package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// connectLife is how long a person may take at the authorization server.
const connectLife = 10 * time.Minute

var (
	// ErrStale means that nobody began to connect an account like that: it took too long, was finished
	// before, or was begun in another browser, by somebody else, or for another upstream.
	ErrStale = errors.New("no such connection has been begun here")
	// ErrDeclined means that the person or the authorization server said no.
	ErrDeclined = oauthclient.ErrDeclined
	// ErrAnswer means that the authorization server's answer does not pass.
	ErrAnswer = oauthclient.ErrAnswer
)

// Visit is a person at a browser.
type Visit struct {
	Person sessions.User
	// Session is the browser's sign-in; Browser the browser itself.
	Session, Browser sessions.ID
}

// connect is an account on its way to be connected: who began it, and what the answer is compared with.
type connect struct {
	User     string      `json:"u"`
	Session  sessions.ID `json:"s"`
	Browser  sessions.ID `json:"b"`
	Resource string      `json:"r"`
	Source   string      `json:"o"`
	Issuer   string      `json:"i"` // of the server that the browser was sent to
	Verifier string      `json:"v"`
}

// begunBy reports whether a visit and an upstream are those that it was begun with. Otherwise somebody
// could plant an account of theirs in another person's place, or the reverse (RFC 9700, section 4.7).
func (c connect) begunBy(v Visit, up *Upstream) bool {
	return c.User == v.Person.Key() && c.Session == v.Session && c.Browser == v.Browser &&
		c.Resource == up.Resource && c.Source == up.source()
}

// Connect begins to connect the account of a person at an upstream, and returns where the browser goes.
// The error is ErrServerDown or sessions.ErrUnavailable.
func (k *Keeper) Connect(ctx context.Context, v Visit, up *Upstream) (address string, err error) {
	// Asked first, so that nothing is written for a server that is down.
	md, err := up.OAuth.Metadata(ctx)
	if err != nil {
		return "", err
	}
	c := connect{
		User: v.Person.Key(), Session: v.Session, Browser: v.Browser,
		Resource: up.Resource, Source: up.source(), Issuer: md.Issuer, Verifier: oauth2.GenerateVerifier(),
	}
	state, err := k.connects.Issue(ctx, c)
	if err != nil {
		return "", err
	}
	return up.OAuth.AuthorizeURL(md, oauthclient.Authorization{State: state, Verifier: c.Verifier, RedirectURI: up.RedirectURI})
}

// Finish takes the answer that a browser brought back for an upstream and stores what it is worth, under
// the person who began. It reports whether another credential gave way. The error is ErrStale,
// ErrDeclined, ErrAnswer, ErrServerDown or sessions.ErrUnavailable.
func (k *Keeper) Finish(ctx context.Context, v Visit, up *Upstream, params url.Values) (replaced bool, err error) {
	state := params.Get("state")
	c, err := k.connects.Load(ctx, state)
	if err == nil && !c.begunBy(v, up) {
		// It stays: whoever sends a stranger here must not end what the owner has begun.
		return false, ErrStale
	}
	if err == nil {
		c, err = k.connects.Take(ctx, state)
	}
	switch {
	case errors.Is(err, sessions.ErrUnavailable):
		return false, err
	case err != nil:
		return false, ErrStale
	}
	server, err := up.OAuth.At(ctx, c.Issuer)
	if errors.Is(err, oauthclient.ErrMoved) {
		// The code is not for the server that is named now.
		return false, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if err != nil {
		return false, err
	}
	md, err := server.Metadata(ctx)
	if err != nil {
		return false, err
	}
	code, err := md.Code(params)
	if err != nil {
		return false, err
	}
	t, err := server.Exchange(ctx, code, c.Verifier, up.RedirectURI, nil)
	switch {
	case errors.Is(err, oauthclient.ErrGrantEnded):
		return false, fmt.Errorf("%w: the code was refused", ErrAnswer)
	case errors.Is(err, ErrServerDown):
		return false, err
	case err != nil:
		return false, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	replaced, err = k.put(ctx, v.Person, up, t, c.Issuer)
	if err != nil {
		_ = server.Revoke(ctx, t.Access, t.Refresh) // it is nobody's
	}
	return replaced, err
}
