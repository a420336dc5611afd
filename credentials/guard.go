package credentials

import (
	"context"
	"errors"
	"maps"
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// Guard puts credentials on the requests of one resource.
type Guard struct {
	Keeper   *Keeper
	Upstream *Upstream

	// Page is where people give a credential; errors name it.
	Page string

	// Snapshot notes what later handlers alter of a request beyond its header, address and body, and returns
	// what puts it back. Nil: nothing.
	Snapshot func(*http.Request) (restore func())

	// Refused is told of every request that is answered with what the person has to do. May be nil.
	Refused func()
}

// Serve calls next with the credential of person in the request, and answers by itself if there is none.
// No person, which is a caller in its own name, has no credential. A credential that the upstream
// refuses is refreshed once, where that can be done, and the request sent again. It returns what next
// returns, or an error that wraps sessions.ErrUnavailable or [ErrServerDown].
func (g *Guard) Serve(w http.ResponseWriter, r *http.Request, person *sessions.User, next sseproxy.Handler) error {
	sseproxy.RemoveHeader(r.Header, g.Upstream.Header.Name)
	body := keepBody(r)
	if person == nil {
		return g.explain(w, r, body, errNoPerson)
	}
	held, err := g.Keeper.Use(r.Context(), *person, g.Upstream)
	if err != nil {
		return g.explain(w, r, body, err)
	}
	again := g.note(w, r)
	body.asked = true
	a := &answer{ResponseWriter: w}
	if err := g.send(a, r, held, next); err != nil || !a.refused {
		return err
	}

	again()
	held, err = g.Keeper.Renew(r.Context(), *person, g.Upstream, held)
	if err == nil && !body.rewind(r) {
		err = errTryAgain
	}
	if err != nil {
		return g.explain(w, r, body, err)
	}
	a = &answer{ResponseWriter: w}
	if err := g.send(a, r, held, next); err != nil || !a.refused {
		return err
	}
	again()
	return g.explain(w, r, body, ErrRejected)
}

// send calls next with the credential. The value goes into the header as it is: nothing in it is replaced.
// It is gone again when next is done: an error route may send the request somewhere else.
func (g *Guard) send(w http.ResponseWriter, r *http.Request, held Held, next sseproxy.Handler) error {
	name := http.CanonicalHeaderKey(g.Upstream.Header.Name)
	r.Header[name] = []string{held.value}
	defer delete(r.Header, name)
	return next.ServeHTTP(w, r)
}

// note remembers a request and an answer as they are, and returns what makes them so again.
func (g *Guard) note(w http.ResponseWriter, r *http.Request) (again func()) {
	address, header, uri, host, method := *r.URL, r.Header.Clone(), r.RequestURI, r.Host, r.Method
	answer := w.Header().Clone()
	restore := func() {}
	if g.Snapshot != nil {
		restore = g.Snapshot(r)
	}
	return func() {
		*r.URL, r.RequestURI, r.Host, r.Method = address, uri, host, method
		replace(r.Header, header)
		replace(w.Header(), answer)
		restore()
	}
}

func replace(h, with http.Header) {
	clear(h)
	maps.Copy(h, with.Clone())
}

// down reports whether an error will pass, and is nothing that the person can do about.
func down(err error) bool {
	return errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, ErrServerDown) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
