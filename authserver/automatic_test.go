package authserver_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// newDevelopmentWorld is a server in development mode, where nobody has signed in.
func newDevelopmentWorld(t *testing.T) *consentWorld {
	t.Helper()
	w := newConsentWorld(t)
	dev, err := identity.NewFixed("dev", "development mode", "dev", identity.User{Email: "dev@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	w.providers, w.cookie = []identity.Provider{dev}, ""
	return w
}

// navigation is what a browser sends along when the operating system opens an address.
func navigation() http.Header {
	return http.Header{"Sec-Fetch-Site": {"none"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-User": {"?1"}}
}

// open sends an authorization request with these headers.
func (w *consentWorld) open(method, redirectURI string, header http.Header, change func(url.Values)) *http.Response {
	w.t.Helper()
	q := url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {redirectURI}, "state": {"xyz"},
		"code_challenge": {strings.Repeat("A", 43)}, "code_challenge_method": {"S256"}, "resource": {consentIssuer + "/tools"},
	}
	if change != nil {
		change(q)
	}
	r := httptest.NewRequest(method, consentIssuer+authserver.AuthorizePath+"?"+q.Encode(), nil)
	r.TLS.HandshakeComplete = true
	for name, values := range header {
		r.Header[name] = values
	}
	return w.do(r)
}

// handedOver says whether a code left, by redirect or by the page that opens an application.
func handedOver(t *testing.T, r *http.Response) bool {
	t.Helper()
	if refresh := r.Header.Get("Refresh"); refresh != "" {
		return strings.Contains(refresh, "code=")
	}
	return outcome(t, r) == "code"
}

// Each case but the first ones is something that a website could make the owner's browser do.
func TestWhatIsApprovedWithoutAClick(t *testing.T) {
	const loopback, private = "http://localhost:4711/callback", "cursor://app/callback"
	with := func(name string, values ...string) http.Header {
		h := navigation()
		if h[name] = values; values == nil {
			delete(h, name)
		}
		return h
	}
	for _, tc := range []struct {
		name     string
		method   string
		redirect string
		header   http.Header
		change   func(url.Values)
		want     bool
	}{
		{"a client opens the browser", "GET", loopback, navigation(), nil, true},
		{"without the sign of a gesture, which not every system gives", "GET", loopback, with("Sec-Fetch-User"), nil, true},
		{"an application with a scheme of its own", "GET", private, navigation(), nil, true},
		{"a client that asks for the page, as some do of every server", "GET", loopback, navigation(), func(q url.Values) { q.Set("prompt", "consent login") }, true},
		{"a client that wants no page", "GET", loopback, navigation(), func(q url.Values) { q.Set("prompt", "none") }, true},
		{"a website as the receiver", "GET", webRedirect, navigation(), nil, false},
		{"a link on a website", "GET", loopback, with("Sec-Fetch-Site", "cross-site"), nil, false},
		{"a link on a website to an application", "GET", private, with("Sec-Fetch-Site", "cross-site"), nil, false},
		{"a page at another port of this computer", "GET", loopback, with("Sec-Fetch-Site", "same-site"), nil, false},
		{"a page behind this very server", "GET", loopback, with("Sec-Fetch-Site", "same-origin"), nil, false},
		{"a browser that does not say", "GET", loopback, with("Sec-Fetch-Site"), nil, false},
		{"two answers to one question", "GET", loopback, with("Sec-Fetch-Site", "none", "cross-site"), nil, false},
		{"a frame", "GET", loopback, with("Sec-Fetch-Dest", "iframe"), nil, false},
		{"a background request", "GET", loopback, with("Sec-Fetch-Mode", "no-cors"), nil, false},
		{"a page loaded in advance", "GET", loopback, with("Sec-Purpose", "prefetch;prerender"), nil, false},
		{"a page loaded in advance by an older browser", "GET", loopback, with("Purpose", "prefetch"), nil, false},
		{"a request with an origin", "GET", loopback, with("Origin", "null"), nil, false},
		{"a request that must be safe", "HEAD", loopback, navigation(), nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newDevelopmentWorld(t)
			answer := w.open(tc.method, tc.redirect, tc.header, tc.change)
			if got := handedOver(t, answer); got != tc.want {
				t.Errorf("approved: %t, want %t (status %d)", got, tc.want, answer.StatusCode)
			}
			if !tc.want && answer.StatusCode != http.StatusOK {
				t.Errorf("status %d instead of the consent page", answer.StatusCode)
			}
			if cookies := answer.Cookies(); tc.want && len(cookies) > 0 {
				t.Errorf("approving by itself left cookies: %v", cookies)
			}
		})
	}
}

func TestElsewhereNothingIsApprovedByItself(t *testing.T) {
	w := newConsentWorld(t)
	w.cookie = ""
	if handedOver(t, w.open("GET", "http://localhost:4711/callback", navigation(), nil)) {
		t.Error("a code without a person")
	}
}

func TestAnAllowRuleHoldsInDevelopmentModeToo(t *testing.T) {
	w := newDevelopmentWorld(t)
	w.policy = access.Rule{Kind: access.Group, Value: "staff"}
	page := w.open("GET", "http://localhost:4711/callback", navigation(), nil)
	if page.StatusCode != http.StatusOK || handedOver(t, page) {
		t.Fatalf("status %d", page.StatusCode)
	}
	if refused := w.decide(page, "allow"); refused.StatusCode != http.StatusForbidden {
		t.Errorf("consenting is answered with %d, want 403", refused.StatusCode)
	}
}

func TestEarlyDataIsNotApproved(t *testing.T) {
	w := newDevelopmentWorld(t)
	r := httptest.NewRequest("GET", consentIssuer+authserver.AuthorizePath+"?"+url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {"http://localhost:4711/callback"}, "state": {"xyz"},
		"code_challenge": {strings.Repeat("A", 43)}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	r.TLS = &tls.ConnectionState{HandshakeComplete: false}
	r.Header = navigation()
	if answer := w.do(r); answer.StatusCode != http.StatusTooEarly {
		t.Errorf("status %d, want 425", answer.StatusCode)
	}
}

// A website that was allowed in once must not get the next token silently: in development mode no
// sign-in stands in its way.
func TestAWebsiteIsAskedAboutEachTimeInDevelopmentMode(t *testing.T) {
	w := newDevelopmentWorld(t)
	allowed := w.decide(w.open("GET", webRedirect, navigation(), nil), "allow")
	if got := outcome(t, allowed); got != "code" {
		t.Fatalf("consenting ended with %s", got)
	}
	for _, cookie := range allowed.Cookies() {
		if strings.HasSuffix(cookie.Name, "_session") {
			w.cookie = cookie.Value
		}
	}
	if w.cookie == "" {
		t.Fatal("the sign-in began no session")
	}
	if got := outcome(t, w.open("GET", webRedirect, navigation(), nil)); got != "page" {
		t.Errorf("the second time ended with %s", got)
	}
	if got := outcome(t, w.open("GET", webRedirect, navigation(), func(q url.Values) { q.Set("prompt", "none") })); got != "consent_required" {
		t.Errorf("the second time without a page ended with %s", got)
	}
}
