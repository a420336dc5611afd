package authserver

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

// Sign-ins that one address, which many people may share, can begin without finishing them. Anybody can
// begin one, each is up to three records in the store, and its callback makes us ask the provider.
const signInBurst, signInEvery = 120, time.Second

// NewSignIns returns the memory of a process in which nobody has begun to sign in yet.
func NewSignIns() *throttle.Limiter { return throttle.New(signInBurst, signInEvery, throttleLimit) }

// limitSignIns counts a sign-in that is about to begin.
func (s *Server) limitSignIns(r *http.Request) *problem {
	wait := s.signIns.Take(throttle.AddressKey(s.ClientAddr(r)), s.Now())
	if wait == 0 {
		return nil
	}
	trouble := tooManySignIns
	trouble.retryAfter = wait
	return &trouble
}

// login is a sign-in under way: what was consented to, and what the identity provider's answer will
// be compared with. It is kept in the store under the state sent to the provider, and taken once.
type login struct {
	Request  request     `json:"r"`
	Provider string      `json:"p"`
	Browser  sessions.ID `json:"b"`
	Nonce    string      `json:"n,omitempty"`
	Verifier string      `json:"v,omitempty"`
	Choice   sessions.ID `json:"k,omitzero"` // the choice of the provider; ends with one sign-in
}

// startLogin sends the browser to the identity provider, or asks at which one to sign in. It runs
// only after consent was given, so the cookie that the callback asks for cannot exist for a flow that
// nobody agreed to (MCP security best practices, "Confused Deputy Problem", OAuth state).
func (s *Server) startLogin(w http.ResponseWriter, r *http.Request, req request, browser sessions.ID) {
	provider := s.Providers[0]
	if len(s.Providers) > 1 {
		provider = nil
		// Whoever wants another account may want another provider.
		if req.Prompt != "select_account" {
			provider = s.providerOf(req.LoginHint)
		}
		var wrong string
		if provider != nil && s.ready(r.Context(), provider) != nil {
			provider, wrong = nil, unreachable(provider)
		}
		if provider == nil {
			s.askChoice(w, r, newChoice(req, browser, s.Now().Add(s.Lifetimes.Login)), wrong)
			return
		}
	}
	if trouble := s.loginAt(w, r, provider, login{Request: req, Browser: browser}); trouble != nil {
		s.problem(w, r, *trouble)
	}
}

// loginAt begins the sign-in l at a provider. It answers unless it returns a problem.
func (s *Server) loginAt(w http.ResponseWriter, r *http.Request, provider identity.Provider, l login) *problem {
	// Asked first, so that nothing is written for a provider that is down.
	if trouble := s.ready(r.Context(), provider); trouble != nil {
		return trouble
	}
	l.Provider, l.Nonce, l.Verifier = provider.ID(), secret(), secret()
	if automatic, ok := provider.(identity.Automatic); ok {
		s.signIn(w, r, provider, l, automatic.User())
		return nil
	}
	state, err := s.logins.Issue(r.Context(), l)
	if err == nil {
		err = s.rememberLogin(w, r, state)
	}
	if err != nil {
		trouble := s.sealingProblem(err)
		return &trouble
	}
	redirecting, ok := provider.(identity.Redirecting)
	if !ok {
		redirect(w, r, LoginPath+"?state="+state)
		return nil
	}
	target, err := redirecting.Begin(r.Context(), s.attempt(provider, l, state))
	if err != nil {
		trouble := s.providerProblem(provider, err)
		return &trouble
	}
	redirect(w, r, target)
	return nil
}

func (s *Server) attempt(p identity.Provider, l login, state string) identity.Attempt {
	return identity.Attempt{
		State:       state,
		Nonce:       l.Nonce,
		Verifier:    l.Verifier,
		RedirectURI: s.Issuer + s.callbackPath(p),
		LoginHint:   l.Request.LoginHint,
		Prompt:      l.Request.Prompt,
		Resource:    l.Request.Resource,
		Scope:       strings.Join(l.Request.Scopes, " "),
	}
}

// readier is implemented by providers that depend on something which may be down.
type readier interface {
	Ready(ctx context.Context) error
}

// ready tells whether somebody could sign in at a provider now.
func (s *Server) ready(ctx context.Context, p identity.Provider) *problem {
	if provider, ok := p.(readier); ok {
		if err := provider.Ready(ctx); err != nil {
			trouble := s.providerProblem(p, err)
			return &trouble
		}
	}
	return nil
}

// providersReady tells whether anybody could sign in now. It is asked before a person is shown a
// consent page that could lead nowhere. All providers are asked at once: one that hangs must not
// keep people from another.
func (s *Server) providersReady(ctx context.Context) *problem {
	answers := make(chan *problem, len(s.Providers))
	for _, p := range s.Providers {
		if _, ok := p.(readier); !ok {
			return nil
		}
		go func() { answers <- s.ready(ctx, p) }()
	}
	var down *problem
	for range s.Providers {
		if down = <-answers; down == nil {
			return nil
		}
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
