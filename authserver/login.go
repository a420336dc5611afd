package authserver

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// login is a sign-in under way: what was consented to, and what the identity provider's answer will
// be compared with. It is kept in the store under the state sent to the provider, and taken once.
type login struct {
	Request  request     `json:"r"`
	Provider string      `json:"p"`
	Browser  sessions.ID `json:"b"`
	Nonce    string      `json:"n,omitempty"`
	Verifier string      `json:"v,omitempty"`
}

// startLogin sends the browser to the identity provider. It runs only after consent was given, so
// the cookie that the callback asks for cannot exist for a flow that nobody agreed to (MCP security
// best practices, "Confused Deputy Problem", OAuth state).
func (s *Server) startLogin(w http.ResponseWriter, r *http.Request, req request, browser sessions.ID) {
	provider := s.Providers[0]
	if automatic, ok := provider.(identity.Automatic); ok {
		s.signIn(w, r, provider, login{Request: req, Provider: provider.ID(), Browser: browser}, automatic.User())
		return
	}
	l := login{Request: req, Provider: provider.ID(), Browser: browser, Nonce: secret(), Verifier: secret()}
	state, err := s.logins.Issue(r.Context(), l)
	if err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	if err := s.rememberLogin(w, r, state); err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	redirecting, ok := provider.(identity.Redirecting)
	if !ok {
		redirect(w, r, LoginPath+"?state="+state)
		return
	}
	target, err := redirecting.Begin(r.Context(), s.attempt(provider, l, state))
	if err != nil {
		s.problem(w, r, s.providerProblem(provider, err))
		return
	}
	redirect(w, r, target)
}

func (s *Server) attempt(p identity.Provider, l login, state string) identity.Attempt {
	return identity.Attempt{
		State:       state,
		Nonce:       l.Nonce,
		Verifier:    l.Verifier,
		RedirectURI: s.Issuer + s.callbackPath(p),
		LoginHint:   l.Request.LoginHint,
		Prompt:      l.Request.Prompt,
	}
}

// readier is implemented by providers that depend on something which may be down.
type readier interface {
	Ready(ctx context.Context) error
}

// providersReady tells whether anybody could sign in now. It is asked before a person is shown a
// consent page that could lead nowhere.
func (s *Server) providersReady(ctx context.Context) *problem {
	var down *problem
	for _, p := range s.Providers {
		provider, ok := p.(readier)
		if !ok {
			return nil
		}
		err := provider.Ready(ctx)
		if err == nil {
			return nil
		}
		trouble := s.providerProblem(p, err)
		down = &trouble
	}
	return down
}

func (s *Server) providerProblem(p identity.Provider, err error) problem {
	if errors.Is(err, identity.ErrUnavailable) {
		s.Logger.Warn("identity provider unavailable", providerField(p), errField(err))
		return providerDown
	}
	return *s.internalProblem("asking identity provider "+p.ID(), err)
}

// secret is a fresh value of 256 bits, in the alphabet of PKCE verifiers.
func secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
