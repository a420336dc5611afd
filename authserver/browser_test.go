package authserver

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// answer is what a server said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) location(t *testing.T) *url.URL {
	t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther || u.Host == "" {
		t.Fatalf("status %d, Location %q: no redirect\n%s", a.status, a.header.Get("Location"), a.body)
	}
	return u
}

// send lets the server answer a request, as the handler around it would.
func (w *world) send(r *http.Request) answer {
	w.t.Helper()
	endpoint := w.Endpoint(r.URL.Path)
	if endpoint == nil {
		w.t.Fatalf("%s is no endpoint", r.URL.Path)
	}
	rec := httptest.NewRecorder()
	endpoint(rec, r)
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

// browser is a browser at the server: it keeps cookies and sends what browsers send.
type browser struct {
	w       *world
	cookies map[string]string
	header  http.Header // sent along with the next form, in place of what a browser would send
}

func (w *world) newBrowser() *browser { return &browser{w: w, cookies: make(map[string]string)} }

func (b *browser) send(r *http.Request) answer {
	b.w.t.Helper()
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	a := b.w.send(r)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c.Value
	}
	return a
}

func (b *browser) get(path string, query url.Values) answer {
	b.w.t.Helper()
	return b.send(httptest.NewRequest("GET", issuer+path+"?"+query.Encode(), nil))
}

// post sends a form as a page of the server itself would.
func (b *browser) post(path string, form url.Values) answer {
	b.w.t.Helper()
	r := formRequest(path, form)
	r.Header.Set("Origin", "null") // pages are sent with Referrer-Policy: no-referrer
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for name, values := range b.header {
		if r.Header.Del(name); values != nil {
			r.Header[name] = values
		}
	}
	return b.send(r)
}

func formRequest(path string, form url.Values) *http.Request {
	r := httptest.NewRequest("POST", issuer+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// authorization is a good authorization request of the client "web".
func authorization(change ...string) url.Values {
	return with(url.Values{
		"response_type": {"code"}, "client_id": {"web"}, "redirect_uri": {callback}, "state": {"xyz"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}, "resource": {github}, "scope": {"github:read"},
	}, change...)
}

// with sets pairs of names and values; "-" as a value removes the name.
func with(v url.Values, pairs ...string) url.Values {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "-" {
			v.Del(pairs[i])
			continue
		}
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

var hiddenField = regexp.MustCompile(`name="(ticket|state)" value="([^"]*)"`)

// hidden returns the hidden field of a page.
func (a answer) hidden(t *testing.T) string {
	t.Helper()
	match := hiddenField.FindStringSubmatch(a.body)
	if a.status != http.StatusOK || match == nil {
		t.Fatalf("status %d without a form, Location %q\n%s", a.status, a.header.Get("Location"), a.body)
	}
	return html.UnescapeString(match[2])
}

// ticket opens the consent page, also if it was answered before, and returns its ticket.
func (b *browser) ticket(change ...string) string {
	b.w.t.Helper()
	query := authorization(change...)
	if !query.Has("prompt") {
		query.Set("prompt", "consent") // a consent that is on record would spare the page
	}
	return b.get(AuthorizePath, query).hidden(b.w.t)
}

// decide answers the consent page.
func (b *browser) decide(ticket, decision string) answer {
	b.w.t.Helper()
	return b.post(ConsentPath, url.Values{"ticket": {ticket}, "decision": {decision}})
}

// toProvider goes as far as the identity provider and returns the state it was sent.
func (b *browser) toProvider(change ...string) string {
	b.w.t.Helper()
	at := b.pastChoice(b.decide(b.ticket(change...), "allow")).location(b.w.t)
	if at.Host != "idp.example" {
		b.w.t.Fatalf("sent to %s, not to the provider", at)
	}
	return at.Query().Get("state")
}

// callback comes back from the identity provider.
func (b *browser) callback(state string) answer {
	b.w.t.Helper()
	return b.get(CallbackPath, url.Values{"state": {state}, "code": {"idp-code"}})
}

// code goes the whole way and returns the authorization code.
func (b *browser) code(change ...string) string {
	b.w.t.Helper()
	return b.callback(b.toProvider(change...)).location(b.w.t).Query().Get("code")
}

// tokens is an answer of a machine endpoint.
type tokens struct {
	answer
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
	ExpiresIn    int64  `json:"expires_in"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
}

// call posts a form to a machine endpoint.
func (w *world) call(path string, form url.Values) tokens {
	w.t.Helper()
	return w.decode(w.send(formRequest(path, form)))
}

func (w *world) decode(a answer) tokens {
	w.t.Helper()
	got := tokens{answer: a}
	if a.body == "" {
		return got
	}
	decoder := json.NewDecoder(strings.NewReader(a.body))
	if err := decoder.Decode(&got); err != nil {
		w.t.Fatalf("status %d with a body that is not JSON: %v\n%s", a.status, err, a.body)
	}
	if _, err := decoder.Token(); err != io.EOF {
		w.t.Fatalf("more than one JSON value: %s", a.body)
	}
	return got
}

func (w *world) exchange(code string, change ...string) tokens {
	w.t.Helper()
	return w.call(TokenPath, with(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"web"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {callback},
	}, change...))
}

func (w *world) refresh(token string, change ...string) tokens {
	w.t.Helper()
	return w.call(TokenPath, with(url.Values{"grant_type": {"refresh_token"}, "client_id": {"web"}, "refresh_token": {token}}, change...))
}

func (w *world) revokeToken(token string, change ...string) tokens {
	w.t.Helper()
	return w.call(RevokePath, with(url.Values{"client_id": {"web"}, "token": {token}}, change...))
}

// tokens goes the whole way to tokens.
func (w *world) tokens(change ...string) tokens {
	w.t.Helper()
	got := w.exchange(w.newBrowser().code(change...))
	if got.status != http.StatusOK {
		w.t.Fatalf("status %d %s: %s", got.status, got.Error, got.Description)
	}
	return got
}

// wantError asserts an OAuth error.
func (got tokens) wantError(t *testing.T, status int, code string) {
	t.Helper()
	if got.status != status || got.Error != code {
		t.Errorf("status %d %s (%s), want %d %s", got.status, got.Error, got.Description, status, code)
	}
	if got.AccessToken != "" || got.RefreshToken != "" {
		t.Error("a token came with the error")
	}
	if got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q (RFC 6749, section 5.1)", got.header.Get("Cache-Control"))
	}
}
