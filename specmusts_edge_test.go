package mcpauth

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

const (
	testCallback = "https://client.example/cb"

	// A code verifier and its S256 challenge (RFC 7636, appendix B).
	testVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	testChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// testProvider is an identity provider that knows one person.
type testProvider struct {
	began  []identity.Attempt
	finish error
}

func (*testProvider) ID() string   { return "oidc" }
func (*testProvider) Name() string { return "Example ID" }

func (p *testProvider) Begin(_ context.Context, a identity.Attempt) (string, error) {
	p.began = append(p.began, a)
	return "https://idp.example.com/authorize?state=" + url.QueryEscape(a.State), nil
}

func (p *testProvider) Finish(context.Context, identity.Attempt, url.Values) (identity.User, error) {
	return identity.User{Issuer: "https://idp.example.com", Subject: "alice", Email: "alice@example.com", EmailVerified: true}, p.finish
}

// edge is a handler with a provider in front of an upstream, and a browser and a client that use it.
type edge struct {
	*Handler
	t        *testing.T
	provider *testProvider
	cookies  map[string]string
	set      []*http.Cookie // ever
	clientID string
	seen     *http.Request // by the upstream, last
}

// answer is what the edge said.
type answer struct {
	status int
	http.Header
	body string
	json map[string]any // the body, if it is a JSON object
}

func newEdge(t *testing.T, resources ...*Resource) *edge {
	t.Helper()
	e := &edge{Handler: newTestHandler(t, resources...), t: t, provider: new(testProvider), cookies: make(map[string]string)}
	e.providers = []identity.Provider{e.provider}
	var err error
	if e.fixed, err = e.newSite(testIssuer); err != nil {
		t.Fatal(err)
	}
	e.clientID = e.register("none", `,"client_name":"A client"`).json["client_id"].(string)
	return e
}

// do sends a request with the browser's cookies.
func (e *edge) do(method, target string, header http.Header, body string) answer {
	e.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = testIssuer + target
	}
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for name, values := range header {
		r.Header[name] = values
	}
	for name, value := range e.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
	status := 0
	err := e.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		e.seen = r
		w.WriteHeader(http.StatusAccepted)
		return nil
	}))
	var failed caddyhttp.HandlerError
	if errors.As(err, &failed) {
		status = failed.StatusCode
	} else if err != nil {
		e.t.Fatal(err)
	} else {
		status = w.Code
	}
	for _, c := range w.Result().Cookies() {
		e.set = append(e.set, c)
		if e.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(e.cookies, c.Name)
		}
	}
	a := answer{status: status, Header: w.Header(), body: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &a.json)
	return a
}

func (e *edge) get(target string) answer { e.t.Helper(); return e.do("GET", target, nil, "") }

func (e *edge) mcp(token string) answer {
	e.t.Helper()
	return e.do("POST", "/mcp", http.Header{"Authorization": {"Bearer " + token}}, "{}")
}

func (e *edge) post(path string, form url.Values) answer {
	e.t.Helper()
	return e.do("POST", path, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form.Encode())
}

// register registers a client that authenticates by method.
func (e *edge) register(method, members string) answer {
	e.t.Helper()
	return e.do("POST", authserver.RegisterPath, http.Header{"Content-Type": {"application/json"}},
		`{"redirect_uris":["`+testCallback+`","http://127.0.0.1/callback"],"token_endpoint_auth_method":"`+method+`"`+members+`}`)
}

// change sets pairs of names and values; an empty value removes the name.
func change(v url.Values, pairs []string) url.Values {
	for i := 0; i+1 < len(pairs); i += 2 {
		if v.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			v.Del(pairs[i])
		}
	}
	return v
}

// authorize opens the consent page, also if it was answered before.
func (e *edge) authorize(pairs ...string) answer {
	e.t.Helper()
	return e.get(authserver.AuthorizePath + "?" + change(url.Values{
		"response_type": {"code"}, "client_id": {e.clientID}, "redirect_uri": {testCallback}, "state": {"xyz"},
		"code_challenge": {testChallenge}, "code_challenge_method": {"S256"}, "resource": {testIssuer + "/"}, "prompt": {"consent"},
	}, pairs).Encode())
}

var ticketField = regexp.MustCompile(`name="ticket" value="([^"]*)"`)

func (a answer) ticket(t *testing.T) string {
	t.Helper()
	match := ticketField.FindStringSubmatch(a.body)
	if a.status != 200 || match == nil {
		t.Fatalf("status %d, Location %q: no consent page\n%s", a.status, a.Get("Location"), a.body)
	}
	return html.UnescapeString(match[1])
}

func (e *edge) decide(ticket, decision string) answer {
	e.t.Helper()
	return e.post(authserver.ConsentPath, url.Values{"ticket": {ticket}, "decision": {decision}})
}

// redirected returns the query of a redirect.
func (a answer) redirected(t *testing.T) url.Values {
	t.Helper()
	u, err := url.Parse(a.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther {
		t.Fatalf("status %d, Location %q\n%s", a.status, a.Get("Location"), a.body)
	}
	return u.Query()
}

// atProvider goes as far as the provider and returns the state that it got.
func (e *edge) atProvider(pairs ...string) string {
	e.t.Helper()
	return e.decide(e.authorize(pairs...).ticket(e.t), "allow").redirected(e.t).Get("state")
}

func (e *edge) callback(state string) answer {
	e.t.Helper()
	return e.get(authserver.CallbackPath + "?" + url.Values{"state": {state}, "code": {"c"}}.Encode())
}

func (e *edge) code(pairs ...string) string {
	e.t.Helper()
	e.cookies = make(map[string]string)
	return e.callback(e.atProvider(pairs...)).redirected(e.t).Get("code")
}

func (e *edge) exchange(code string, pairs ...string) answer {
	e.t.Helper()
	return e.post(authserver.TokenPath, change(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {e.clientID}, "code": {code}, "code_verifier": {testVerifier},
	}, pairs))
}

func (e *edge) refresh(token any, pairs ...string) answer {
	e.t.Helper()
	return e.post(authserver.TokenPath, change(url.Values{
		"grant_type": {"refresh_token"}, "client_id": {e.clientID}, "refresh_token": {token.(string)},
	}, pairs))
}

// tokens signs in and returns the token endpoint's answer.
func (e *edge) tokens(pairs ...string) answer {
	e.t.Helper()
	a := e.exchange(e.code(pairs...))
	if a.status != 200 {
		e.t.Fatalf("status %d: %s", a.status, a.body)
	}
	return a
}

func (a answer) text(name string) string { s, _ := a.json[name].(string); return s }

// wantError asserts an error object of an OAuth endpoint.
func (a answer) wantError(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || a.text("error") != code || a.Get("Content-Type") != "application/json" {
		t.Errorf("status %d: %s, want %d %s", a.status, a.body, status, code)
	}
}

// Interface guards
var _ identity.Redirecting = (*testProvider)(nil)
