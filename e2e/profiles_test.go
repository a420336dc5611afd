package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// Each client in its own words, from the first request to the refresh, at both kinds of sites.
func TestEveryKnownClientConnectsAndRefreshes(t *testing.T) {
	t.Parallel()
	profiles := readProfiles(t)
	several := newWorld(t, pinnedDocuments(t))
	one := prepareWorld(t)
	if err := one.idp.Start(); err != nil {
		t.Fatal(err)
	}
	one.start(one.oneResourceSite(pinnedDocuments(t)))
	for _, site := range []struct {
		name   string
		world  *world
		scopes bool
	}{
		{"a site with several resources", several, true},
		{"a site that is one resource", one, false},
	} {
		t.Run(site.name, func(t *testing.T) {
			for name, p := range profiles {
				if p.OneResource && site.world == several {
					continue
				}
				t.Run(name, func(t *testing.T) {
					w := *site.world
					w.t = t
					granted := p.Granted
					if !site.scopes {
						granted = ""
					}
					w.replay(p, granted)
				})
			}
		})
	}
}

// oneResourceSite is the smallest configuration there is.
func (w *world) oneResourceSite(extra string) string {
	return fmt.Sprintf(`	mcp_auth {
		oidc %s {
			client_id edge
			client_secret {env.OIDC_CLIENT_SECRET}
		}
		allow domain example.com
		%s
	}
	reverse_proxy %s
`, w.idp.Issuer(), extra, w.up.Addr())
}

// replay goes the whole way of a client.
func (w *world) replay(p *profile, granted string) {
	t := w.t
	t.Helper()
	r := &replay{
		oauthClient: &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL(), verifier: oauth2.GenerateVerifier()},
		values:      make(map[string]string),
	}
	r.know("origin", w.edge.URL())
	r.know("verifier", r.verifier)
	r.know("challenge", oauth2.S256ChallengeFromVerifier(r.verifier))
	for i := range p.Discovery {
		a := r.send(&p.Discovery[i])
		metadata := w.edge.URL() + "/.well-known/oauth-protected-resource" + p.Endpoint
		if challenge := a.Header.Get("WWW-Authenticate"); a.Status == http.StatusUnauthorized &&
			!strings.Contains(challenge, `resource_metadata="`+metadata+`"`) {
			t.Errorf("the challenge is %q, want the metadata at %s", challenge, metadata)
		}
	}
	if p.ClientID != "" {
		r.knowCredentials(p.ClientID, "")
	} else {
		r.register(p.Registration)
	}

	r.know("code", r.authorize(p.Authorize))
	tokens := r.tokensOf(&p.Token, granted)
	w.whoami(p, tokens.AccessToken)
	r.know("refresh_token", tokens.RefreshToken)
	renewed := r.tokensOf(&p.Refresh, granted)
	if renewed.AccessToken == tokens.AccessToken || renewed.RefreshToken == tokens.RefreshToken {
		t.Error("the refresh changed nothing")
	}
	w.whoami(p, renewed.AccessToken)
}

// register registers and takes over the credentials. RFC 7591, section 3.2.1, lets a server change
// what was asked for; no client notices that its redirect URIs or its method are others.
func (r *replay) register(q *profileRequest) {
	r.t.Helper()
	var asked, got struct {
		ClientID     string   `json:"client_id"`
		ClientSecret string   `json:"client_secret"`
		RedirectURIs []string `json:"redirect_uris"`
		Method       string   `json:"token_endpoint_auth_method"`
		ExpiresAt    *int64   `json:"client_secret_expires_at"`
	}
	unmarshal(r.t, q.JSON, &asked)
	a := r.send(q)
	unmarshal(r.t, a.Body, &got)
	if strings.Join(got.RedirectURIs, " ") != strings.Join(asked.RedirectURIs, " ") {
		r.t.Errorf("the redirect URIs are %q, want %q", got.RedirectURIs, asked.RedirectURIs)
	}
	if asked.Method != "" && got.Method != asked.Method {
		r.t.Errorf("the method is %q, want %q", got.Method, asked.Method)
	}
	if secret := got.Method != "none"; secret != (got.ClientSecret != "") || secret != (got.ExpiresAt != nil) {
		r.t.Errorf("a client with the method %s got a secret: %t", got.Method, got.ClientSecret != "")
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		r.t.Error("the registration may be cached")
	}
	r.knowCredentials(got.ClientID, got.ClientSecret)
}

// authorize opens the authorization request in a browser, signs in, and returns the code that
// arrives at the client.
func (r *replay) authorize(parameters map[string]string) (code string) {
	r.t.Helper()
	query := make(url.Values)
	for name, value := range parameters {
		query.Set(name, r.expand(value))
	}
	p := newPerson(idp.Alice)
	p.Browser = browser.New(parameters["redirect_uri"])
	page, err := p.Open(r.ctx, r.base+"/oauth2/auth?"+query.Encode())
	if err == nil {
		page, err = p.walk(r.ctx, page, nil)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	landed := leaving(r.t, page)
	address, _, _ := strings.Cut(landed.String(), "?")
	if address != parameters["redirect_uri"] {
		r.t.Errorf("the browser was sent to %s, want %s", address, parameters["redirect_uri"])
	}
	answered := landed.Query()
	if answered.Get("state") != parameters["state"] || answered.Has("state") != (parameters["state"] != "") {
		r.t.Errorf("the state is %q, want %q", answered.Get("state"), parameters["state"])
	}
	if answered.Get("iss") != r.base || answered.Get("code") == "" {
		r.t.Fatalf("the answer is %v", answered)
	}
	return answered.Get("code")
}

// leaving is where a browser goes from page: where a redirect led it, or, with a private-use scheme,
// where the page sends it.
func leaving(t *testing.T, page *browser.Page) *url.URL {
	t.Helper()
	if page.Landed {
		return page.URL
	}
	_, target, found := strings.Cut(page.Header.Get("Refresh"), ";url=")
	u, err := url.Parse(target)
	if !found || err != nil {
		t.Fatalf("the browser was left at %s with status %d: %s", page.URL, page.Status, page.Text)
	}
	return u
}

func (r *replay) tokensOf(q *profileRequest, scope string) answer {
	r.t.Helper()
	a := r.send(q)
	var granted struct{ Scope string }
	unmarshal(r.t, a.Body, &granted)
	if a.AccessToken == "" || a.RefreshToken == "" || a.TokenType != "Bearer" || a.ExpiresIn <= 0 || granted.Scope != scope {
		r.t.Fatalf("an access token: %t, a refresh token: %t, type %q, %d seconds, scope %q, want %q",
			a.AccessToken != "", a.RefreshToken != "", a.TokenType, a.ExpiresIn, granted.Scope, scope)
	}
	return a
}

// whoami calls a tool with the token.
func (w *world) whoami(p *profile, token string) {
	w.t.Helper()
	header := make(http.Header)
	for name, value := range p.MCPHeaders {
		header.Set(name, value)
	}
	client, err := mcpclient.Connect(w.ctx, w.url(p.Endpoint), mcpclient.Options{Token: &oauth2.Token{AccessToken: token}, Header: header})
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.Email != idp.Alice.Email {
		w.t.Errorf("whoami answered %+v, %v", who, err)
	}
}
