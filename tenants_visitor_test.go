package mcpauth

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/crypto/bcrypt"
)

const (
	visitorPassword     = "visitor-password-4711"
	visitorRedirect     = "http://localhost:4711/callback"
	visitorVerifier     = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	visitorChallenge    = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636, appendix B
	introspectionSecret = "introspection-secret-of-the-tools-server"
)

// hash is made once: it is slow by design.
var hash = sync.OnceValues(func() ([]byte, error) { return bcrypt.GenerateFromPassword([]byte(visitorPassword), bcrypt.MinCost) })

func passwordHash(t *testing.T) string {
	t.Helper()
	h, err := hash()
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// stage is how far a visitor has come.
type stage int

const (
	registered stage = iota // has a client
	asked                   // sees the consent page
	consented               // sees the sign-in form
	signedIn                // has a session and a code
	connected               // has tokens and an MCP session
)

// holdings are what a visitor was given.
type holdings struct {
	clientID, clientSecret string
	ticket, state, code    string
	access, refresh        string
	session                string // MCP session
	deviceCode, userCode   string
	ownTicket              string // of the person's own page
	personal               string // token that the person made
	cookies                map[string]string
}

// visitor is a person, their browser and their client at one issuer.
type visitor struct {
	holdings
	t      *testing.T
	h      *Handler
	issuer string
}

func newVisitor(t *testing.T, h *Handler) *visitor {
	return &visitor{t: t, h: h, issuer: h.fixed.issuer, holdings: holdings{cookies: make(map[string]string)}}
}

// waits begins a device authorization.
func (v *visitor) waits() bool {
	_, device := v.object("/oauth2/device_authorization", url.Values{"client_id": {v.clientID}, "client_secret": {v.clientSecret}})
	v.deviceCode, _ = device["device_code"].(string)
	v.userCode, _ = device["user_code"].(string)
	return v.deviceCode != "" && v.userCode != ""
}

// polls reports whether the server knows of the device.
func (v *visitor) polls() bool {
	_, answer := v.object("/oauth2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {v.deviceCode},
		"client_id": {v.clientID}, "client_secret": {v.clientSecret},
	})
	return answer["error"] == "authorization_pending"
}

// typesCode reports whether the code that the device shows leads to the consent page.
func (v *visitor) typesCode() bool {
	return v.keepTicket(v.form("/oauth2/device", url.Values{"user_code": {v.userCode}}))
}

// reach goes on until there.
func (v *visitor) reach(to stage) *visitor {
	v.t.Helper()
	for s, step := range []func() bool{v.registers, v.isAsked, v.consents, v.signsIn, v.redeems} {
		if stage(s) > to {
			break
		}
		if !step() {
			v.t.Fatalf("%s: step %d failed", v.issuer, s)
		}
		if stage(s) == registered && !v.waits() {
			v.t.Fatalf("%s: asking for a device code failed", v.issuer)
		}
		if stage(s) == signedIn && !v.approvesAnotherClient() {
			v.t.Fatalf("%s: approving another client failed", v.issuer)
		}
		if stage(s) == signedIn && !v.seesOwnPage() {
			v.t.Fatalf("%s: opening the own page failed", v.issuer)
		}
	}
	if to == connected && !v.opensSession() {
		v.t.Fatalf("%s: opening an MCP session failed", v.issuer)
	}
	return v
}

// do sends a request as the server's own pages and clients do.
func (v *visitor) do(method, path, contentType, body string, header http.Header) (*http.Response, *http.Request) {
	v.t.Helper()
	r := httptest.NewRequest(method, v.issuer+path, strings.NewReader(body))
	r.TLS.HandshakeComplete = true
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
	w, next := httptest.NewRecorder(), new(sessionUpstream)
	err := v.h.ServeHTTP(w, r, next)
	var failed caddyhttp.HandlerError
	switch {
	case errors.As(err, &failed):
		return &http.Response{StatusCode: failed.StatusCode, Header: w.Header(), Body: http.NoBody}, next.got
	case err != nil:
		v.t.Fatalf("serving: %v", err)
	}
	answer := w.Result()
	for _, cookie := range answer.Cookies() {
		v.cookies[cookie.Name] = cookie.Value
	}
	return answer, next.got
}

// sessionUpstream is an MCP server that opens a session, and knows no other.
type sessionUpstream struct{ got *http.Request }

func (u *sessionUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	u.got = r
	w.Header().Set("Mcp-Session-Id", "session-1")
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write([]byte(`{}`))
	return err
}

func (v *visitor) form(path string, values url.Values) *http.Response {
	v.t.Helper()
	answer, _ := v.do("POST", path, "application/x-www-form-urlencoded", values.Encode(), nil)
	return answer
}

// object sends a form and reads the JSON it is answered with.
func (v *visitor) object(path string, values url.Values) (status int, object map[string]any) {
	v.t.Helper()
	answer := v.form(path, values)
	_ = json.NewDecoder(answer.Body).Decode(&object)
	return answer.StatusCode, object
}

func (v *visitor) registers() bool {
	answer, _ := v.do("POST", "/oauth2/register", "application/json", `{"client_name":"Visitor","redirect_uris":["`+visitorRedirect+`"],
		"grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:device_code"],"token_endpoint_auth_method":"client_secret_post"}`, nil)
	var client struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	err := json.NewDecoder(answer.Body).Decode(&client)
	v.clientID, v.clientSecret = client.ID, client.Secret
	return err == nil && client.ID != "" && client.Secret != ""
}

// authorize opens the authorization endpoint.
func (v *visitor) authorize(clientID, redirectURI string, more url.Values) *http.Response {
	v.t.Helper()
	q := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {redirectURI}, "state": {"xyz"},
		"code_challenge": {visitorChallenge}, "code_challenge_method": {"S256"},
	}
	for name, values := range more {
		q[name] = values
	}
	answer, _ := v.do("GET", "/oauth2/auth?"+q.Encode(), "", "", nil)
	return answer
}

var ticketInput = regexp.MustCompile(`name="ticket" value="([^"]+)"`)

// keepTicket reports whether the answer is the consent page.
func (v *visitor) keepTicket(answer *http.Response) bool {
	v.t.Helper()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	field := ticketInput.FindSubmatch(body)
	if field == nil {
		return false
	}
	v.ticket = string(field[1])
	return answer.StatusCode == http.StatusOK
}

func (v *visitor) isAsked() bool { return v.keepTicket(v.authorize(v.clientID, visitorRedirect, nil)) }

func (v *visitor) consents() bool {
	location := target(v.form("/oauth2/consent", url.Values{"ticket": {v.ticket}, "decision": {"allow"}}))
	v.state = location.Query().Get("state")
	return location.Path == "/oauth2/login" && v.state != ""
}

func (v *visitor) signsIn() bool {
	answer := v.form("/oauth2/login", url.Values{"state": {v.state}, "email": {"ann@example.com"}, "password": {visitorPassword}})
	v.code = target(answer).Query().Get("code")
	return v.code != ""
}

// approvesAnotherClient consents to a website that the operator registered, which is remembered.
func (v *visitor) approvesAnotherClient() bool {
	if v.isApproved() {
		return true
	}
	if !v.keepTicket(v.authorize("app", "https://app.example.org/callback", nil)) {
		return false
	}
	return target(v.form("/oauth2/consent", url.Values{"ticket": {v.ticket}, "decision": {"allow"}})).Query().Get("code") != ""
}

// isKnown reports whether the server knows who is signed in here.
func (v *visitor) isKnown() bool {
	answer := target(v.authorize(v.clientID, visitorRedirect, url.Values{"prompt": {"none"}}))
	return answer.Query().Get("error") == "consent_required"
}

func (v *visitor) isApproved() bool {
	answer := target(v.authorize("app", "https://app.example.org/callback", url.Values{"prompt": {"none"}}))
	return answer.Query().Get("code") != ""
}

func (v *visitor) token(values url.Values) bool {
	values.Set("client_id", v.clientID)
	values.Set("client_secret", v.clientSecret)
	status, tokens := v.object("/oauth2/token", values)
	if status != http.StatusOK {
		return false
	}
	v.access, v.refresh = tokens["access_token"].(string), tokens["refresh_token"].(string)
	return true
}

func (v *visitor) redeems() bool {
	return v.token(url.Values{"grant_type": {"authorization_code"}, "code": {v.code}, "code_verifier": {visitorVerifier}})
}

func (v *visitor) refreshes() bool {
	return v.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {v.refresh}})
}

func (v *visitor) revokes(token string) int {
	return v.form("/oauth2/revoke", url.Values{"token": {token}, "client_id": {v.clientID}, "client_secret": {v.clientSecret}}).StatusCode
}

func (v *visitor) mcp(header http.Header) (*http.Response, *http.Request) {
	v.t.Helper()
	sent := http.Header{"Authorization": {"Bearer " + v.access}}
	for name, values := range header {
		sent[name] = values
	}
	return v.do("POST", "/mcp", "application/json", `{}`, sent)
}

func (v *visitor) calls() bool {
	answer, got := v.mcp(nil)
	return answer.StatusCode == http.StatusOK && got != nil
}

func (v *visitor) subject() string {
	_, got := v.mcp(nil)
	if got == nil {
		v.t.Fatal("the call did not arrive")
	}
	return got.Header.Get("X-Forwarded-User")
}

func (v *visitor) opensSession() bool {
	answer, _ := v.mcp(nil)
	v.session = answer.Header.Get("Mcp-Session-Id")
	return v.session != "" && v.session != "session-1"
}

func (v *visitor) resumes() bool {
	_, got := v.mcp(http.Header{"Mcp-Session-Id": {v.session}})
	return got != nil && got.Header.Get("Mcp-Session-Id") == "session-1"
}

func (v *visitor) clientAsks() bool {
	_, about := v.object("/oauth2/introspect", url.Values{"token": {v.access}, "client_id": {v.clientID}, "client_secret": {v.clientSecret}})
	return about["active"] == true
}

func (v *visitor) serverAsks() bool {
	_, about := v.object("/oauth2/introspect", url.Values{"token": {v.access}, "client_id": {"tools"}, "client_secret": {introspectionSecret}})
	return about["active"] == true
}

// target is where an answer sends the browser; the zero URL if nowhere.
func target(answer *http.Response) *url.URL {
	u, err := answer.Location()
	if err != nil {
		return new(url.URL)
	}
	return u
}
