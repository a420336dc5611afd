package external

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

const (
	// maxQuestions bounds how many questions are on their way to an issuer at a time.
	maxQuestions = 32
	// questionTimeout bounds one question: a client waits for it.
	questionTimeout = 8 * time.Second
	// refusalLife is how long a refused token is refused without asking again.
	refusalLife = 5 * time.Second
	// outageRest is how long an issuer that did not answer is left in peace.
	outageRest = time.Second
)

// ask asks the issuer about a token (RFC 7662, section 2). Many requests with one token ask once.
func (s *Server) ask(ctx context.Context, key [sha256.Size]byte, token string) (*Token, error) {
	if _, refused := s.bad.get(key, s.config.Now()); refused {
		return nil, errInactive
	}
	if err := s.outage.lately(s.config.Now()); err != nil {
		return nil, err
	}
	// The first of them may go away while others wait for the same answer.
	question := context.WithoutCancel(ctx)
	answers := s.asking.DoChan(string(key[:]), func() (any, error) {
		question, cancel := context.WithTimeout(question, questionTimeout)
		defer cancel()
		return s.question(question, key, token)
	})
	select {
	case answer := <-answers:
		t, _ := answer.Val.(*Token)
		return t, answer.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

var errInactive = fmt.Errorf("%w: the issuer does not know it, or has ended it", ErrInvalid)

func (s *Server) question(ctx context.Context, key [sha256.Size]byte, token string) (*Token, error) {
	if err := wait(ctx, s.questions); err != nil {
		return nil, err
	}
	defer func() { <-s.questions }()
	endpoint := s.config.Introspection
	answer := identity.Claims{}
	err := s.remote.Post(ctx, endpoint.URL, url.Values{"token": {token}, "token_type_hint": {"access_token"}}, endpoint.authenticate, &answer)
	if err != nil {
		// Also where the issuer does not accept our own credentials: that says nothing about the token.
		err = fmt.Errorf("%w: asking %s: %w", ErrUnavailable, endpoint.URL, err)
		s.outage.begin(err, s.config.Now())
		return nil, err
	}
	t, err := s.answered(answer)
	if err != nil {
		s.bad.put(key, nil, s.config.Now().Add(refusalLife), s.config.Now())
		return nil, err
	}
	s.good.put(key, t, s.remember(t), s.config.Now())
	return t, nil
}

// answered reads an answer (RFC 7662, section 2.2). Members other than active are optional there;
// without an audience a token is refused where that matters, by the caller.
func (s *Server) answered(answer identity.Claims) (*Token, error) {
	if !answer.IsTrue("active") {
		return nil, errInactive
	}
	if answer.Has("iss") && answer.Text("iss") != s.config.Issuer {
		return nil, fmt.Errorf("%w: the answer names another issuer", ErrInvalid)
	}
	return s.token(answer)
}

func (i *Introspection) authenticate(r *http.Request) {
	switch {
	case i.BearerToken != "":
		r.Header.Set("Authorization", "Bearer "+i.BearerToken)
	case i.ClientID != "":
		// RFC 6749, section 2.3.1: both are form-encoded first.
		r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret))
	}
}

// outage remembers the last question that was not answered.
type outage struct {
	mu    sync.Mutex
	err   error
	until time.Time
}

func (o *outage) begin(err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err, o.until = err, now.Add(outageRest)
}

func (o *outage) lately(now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil && now.Before(o.until) {
		return o.err
	}
	return nil
}
