// Package identity signs people in: at an OpenID Connect provider, or with a password that the
// configuration knows. It hands back who they are as the provider vouches for it, and nothing it
// does not vouch for. It knows nothing of cookies, pages, Caddy or of who may use what.
package identity

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// User is a person as one identity provider knows them.
//
// Issuer and Subject together are the identity (OpenID Connect Core 1.0, section 5.7): an e-mail
// address may be given to somebody else, a subject never is. All texts are safe to show and to
// send in a header: no control characters, and Email and Groups are printable ASCII.
type User struct {
	Issuer, Subject string

	// Email is empty, or an address that ParseEmail accepts. It says nothing about the person
	// unless EmailVerified is true; use VerifiedEmail for everything but telling them so.
	Email         string
	EmailVerified bool

	Name string

	// Groups holds only names that ValidGroup accepts, so that they can be joined by commas.
	Groups []string

	// Upstream is what Recheck needs to ask about the person again. It holds secrets of the
	// provider's and is meant for nobody else; empty if the provider cannot be asked again.
	Upstream []byte `json:"-"`

	// LogoutHint is what EndSession shows the provider. It may be empty.
	LogoutHint string `json:"-"`
}

// VerifiedEmail returns the e-mail address if the provider vouches for it, and "" otherwise. It is
// what belongs into tokens and headers.
func (u User) VerifiedEmail() string {
	if !u.EmailVerified {
		return ""
	}
	return u.Email
}

// Attempt is what a login transaction remembers between the redirect to the provider and the
// answer. State, Nonce and Verifier are fresh random values of their own; RedirectURI is the one
// registered at this provider and at no other (RFC 9700, section 4.4).
type Attempt struct {
	State, Nonce, Verifier, RedirectURI, LoginHint, Prompt string

	// Resource is what the access token is for, and Scope what it has to be good for, separated by spaces,
	// at a provider whose own access tokens are what the client gets. Others pass them over.
	Resource, Scope string
}

// Provider is a place where people sign in.
type Provider interface {
	// ID is stable and unique within a site, such as "google".
	ID() string
	// Name is for people.
	Name() string
}

// Redirecting is a provider that a browser is sent to and comes back from. Implementations are
// safe for concurrent use.
type Redirecting interface {
	Provider

	// Begin returns where to send the browser, or ErrUnavailable.
	Begin(ctx context.Context, a Attempt) (authorizationURL string, err error)

	// Finish checks the parameters of the callback and returns who signed in. The caller has found
	// a by the state parameter, has taken it so that it cannot be used twice, and has made sure
	// that the browser is the one that began. If a.State is not empty it is compared again.
	//
	// Errors wrap ErrUnavailable, ErrDenied or ErrRefused. Their texts are for the log: they hold
	// no secrets and nothing that the browser or the provider has worded.
	Finish(ctx context.Context, a Attempt, params url.Values) (User, error)
}

// Rechecker is a provider that can be asked about a person again, without a browser.
type Rechecker interface {
	Provider

	// Recheck asks whether the person whose sign-in left upstream still has their account, and
	// returns what the provider says of them now. The error wraps ErrDenied if the provider no
	// longer vouches for them, and then it never will again; anything else means that it could not
	// be asked, or not be understood.
	//
	// newUpstream, if not nil, takes the place of upstream, also when there is an error: a provider
	// may have given out a new refresh token before something else failed.
	Recheck(ctx context.Context, upstream []byte) (u User, newUpstream []byte, err error)
}

// SessionEnder is a provider that can be told, by way of the browser, that somebody signs out.
type SessionEnder interface {
	Provider

	// EndSession returns where to send the browser, which comes back to returnTo, or "" if there is
	// no such address. hint is a User's LogoutHint.
	EndSession(ctx context.Context, hint, returnTo string) string
}

// Password is a provider that checks a password itself. Implementations are safe for concurrent
// use.
type Password interface {
	Provider

	// Check returns the user with this e-mail address and password. It returns ErrCredentials
	// whether the address or the password is wrong, in the same time, and *RateLimitedError when
	// there were too many wrong attempts for clientAddr or for email.
	Check(ctx context.Context, clientAddr, email, password string) (User, error)
}

var (
	// ErrUnavailable means that the provider cannot be asked at present. Nobody is signed in;
	// trying again later may help.
	ErrUnavailable = errors.New("identity provider not available")

	// ErrDenied means that the provider, the person or a required property of the account said no.
	ErrDenied = errors.New("sign-in denied")

	// ErrRefused means that an answer did not stand up to a protocol check.
	ErrRefused = errors.New("sign-in answer refused")

	// ErrCredentials means that the e-mail address or the password is wrong.
	ErrCredentials = errors.New("wrong e-mail address or password")
)

// RateLimitedError means that there were too many wrong passwords; none was checked.
type RateLimitedError struct {
	// RetryAfter is how long to wait, in whole seconds.
	RetryAfter time.Duration
}

// Error implements error.
func (e *RateLimitedError) Error() string {
	return fmt.Sprintf("too many attempts; try again in %s", e.RetryAfter)
}
