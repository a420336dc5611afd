package mcpauth

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

// resourceMethods is what scripts of other origins may do at a protected resource.
const resourceMethods = "GET, POST, DELETE, OPTIONS"

var (
	errNotAdmitted = errors.New("user is not on the allow-list any more")
	errNetwork     = errors.New("address is in no network that is let in")
	errScope       = errors.New("access token lacks a scope that this resource requires")
	errThrottled   = errors.New("too many access tokens from this address that were never issued")
	errRate        = errors.New("too many requests of one user in a minute")
)

// challenges are the refusals that a client can do something about (RFC 6750, section 3.1). Without
// credentials no error code is due.
var challenges = map[sseproxy.Reason]struct {
	status int
	code   string
	err    error
}{
	reasonTokenInQuery: {http.StatusBadRequest, "invalid_request", errors.New("access token in the query string")},
	reasonTwoTokens:    {http.StatusBadRequest, "invalid_request", errors.New("several Authorization headers")},
	reasonNoToken:      {http.StatusUnauthorized, "", errors.New("no access token")},
	reasonBadToken:     {http.StatusUnauthorized, "invalid_token", errors.New("access token not valid here")},
	reasonExpired:      {http.StatusUnauthorized, "invalid_token", errors.New("access token expired")},
	reasonRevoked:      {http.StatusUnauthorized, "invalid_token", errors.New("access token revoked")},
	reasonNotHere:      {http.StatusUnauthorized, "invalid_token", access.ErrTokenNotHere},
	reasonAudience:     {http.StatusUnauthorized, "invalid_token", errors.New("access token of another resource")},
}

// refuse answers with a challenge (RFC 6750, section 3). The status travels as an error, so that
// handle_errors may add a body; the challenge stays.
func refuse(w http.ResponseWriter, s *site, res *resource, path string, reason sseproxy.Reason) error {
	c := challenges[reason]
	challenge(w, s, res, path, oauthmeta.Challenge{Scope: res.scope, Error: c.code})
	return turnAway(reason, c.status, c.err)
}

// refuseScope answers a good token that may too little (RFC 6750, section 3.1; MCP authorization,
// "Scope Challenge Handling"). Everything that is needed is named at once, so that the person is
// asked once.
func refuseScope(w http.ResponseWriter, s *site, res *resource, path, needed string) error {
	challenge(w, s, res, path, oauthmeta.Challenge{
		Scope:            needed,
		Error:            "insufficient_scope",
		ErrorDescription: "The access token lacks a scope that this resource requires",
	})
	return turnAway(reasonScope, http.StatusForbidden, errScope)
}

// dontWaitForBody has an answer sent at once to a client that holds its body back until it is asked for
// (RFC 9110, section 10.1.1). Nobody will ask, and the server would wait for it before it answers.
func dontWaitForBody(w http.ResponseWriter, r *http.Request) {
	if len(r.Header["Expect"]) > 0 && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

func challenge(w http.ResponseWriter, s *site, res *resource, path string, c oauthmeta.Challenge) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if len(s.resources.authorizationServers) > 0 {
		c.ResourceMetadata = s.metadataURL(res, path)
	} else {
		// A token is not to be had by OAuth, and a client must not begin to look for a way.
		c.Realm, c.Scope = s.realm, ""
	}
	h.Set("WWW-Authenticate", c.String())
}

func neededScope(err error) string {
	var missing *external.MissingScope
	if errors.As(err, &missing) {
		return missing.Needed
	}
	return ""
}

// refuseGuess answers for a token that was never issued here. Whoever sends many of them is guessing, and
// is told to wait; tokens that expired or were revoked are not guesses, and their owners must be able to
// find out that it is time to refresh. cause is for the log; it holds nothing of the token.
func (h *Handler) refuseGuess(w http.ResponseWriter, r *http.Request, s *site, res *resource, path string, cause error) error {
	if h.guarding.badTokens != nil {
		if wait := h.guarding.badTokens.Take(throttle.AddressKey(clientAddr(r)), time.Now()); wait > 0 {
			return refuseFor(wait, w, reasonThrottled, errThrottled)
		}
	}
	if check := h.logger.Check(zap.DebugLevel, "refused an access token"); check != nil {
		check.Write(zap.Error(cause), zap.String("resource", res.URI))
	}
	return refuse(w, s, res, path, reasonBadToken)
}

// limitRate refuses a request of somebody who has made too many. Their token was good, so the limit is
// theirs, wherever they are; others at the same address do not feel it.
func (h *Handler) limitRate(w http.ResponseWriter, c *caller) error {
	if h.guarding.requests == nil {
		return nil
	}
	if wait := h.guarding.requests.Take(c.UserIssuer, c.Subject, time.Now()); wait > 0 {
		return refuseFor(wait, w, reasonRate, errRate)
	}
	return nil
}

// refuseFor turns a request away until wait is over (RFC 6585, section 4).
func refuseFor(wait time.Duration, w http.ResponseWriter, reason sseproxy.Reason, err error) error {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	return turnAway(reason, http.StatusTooManyRequests, err)
}

// limitBody refuses an MCP message that is too long by what it says, and cuts one off that says nothing.
// Requests that are no MCP messages are left alone: an upload to an application behind the same
// resource may be as long as the application likes.
func (h *Handler) limitBody(r *http.Request) error {
	most := h.guarding.maxBody
	if most == 0 || r.ContentLength == 0 || r.ContentLength > 0 && r.ContentLength <= most || !sseproxy.IsMCP(r.Header) && !sseproxy.IsJSON(r.Header) {
		return nil
	}
	if r.ContentLength > 0 {
		return turnAway(reasonBody, http.StatusRequestEntityTooLarge, &http.MaxBytesError{Limit: most})
	}
	r.Body = &limitedBody{ReadCloser: http.MaxBytesReader(nil, r.Body, most)}
	return nil
}

// limitedBody gives the error of a body that is too long the status that goes with it, so that a proxy
// which was reading it does not make it a failure of the upstream.
type limitedBody struct {
	io.ReadCloser
	told bool
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		if !b.told {
			b.told = true
			collectors.Refused(string(reasonBody))
		}
		err = caddyhttp.Error(http.StatusRequestEntityTooLarge, tooLong)
	}
	return n, err
}

// metadataURL is where a challenge points to: the metadata of the URL that was asked for, since some
// clients insist that the resource they are told is the URL they were given. Paths of unusual spelling
// get the resource's own.
func (s *site) metadataURL(res *resource, path string) string {
	if path == "/" || !strings.HasPrefix(path, res.path) || len(path) > 256 {
		return oauthmeta.MetadataURL(res.URI)
	}
	if rest := path[len(res.path):]; rest != "" && rest[0] != '/' {
		return oauthmeta.MetadataURL(res.URI)
	}
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '/', c == '-', c == '_', c == '.', c == '~':
		default:
			return oauthmeta.MetadataURL(res.URI)
		}
	}
	return oauthmeta.MetadataURLAt(s.issuer, strings.TrimSuffix(path, "/"))
}
