package pages

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func signIn(status int, v SignIn) *httptest.ResponseRecorder {
	return get(func(w http.ResponseWriter, r *http.Request) { WriteSignIn(w, r, status, v) })
}

func field(t *testing.T, doc *html.Node, name string) *html.Node {
	t.Helper()
	found := elements(doc, func(n *html.Node) bool { return n.Data == "input" && attr(n, "name") == name })
	if len(found) != 1 {
		t.Fatalf("%d fields %q", len(found), name)
	}
	return found[0]
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func TestSignInPostsWhatPasswordManagersFill(t *testing.T) {
	doc := parse(t, signIn(http.StatusOK, SignIn{Action: "/oauth2/login", State: "mcpls_x", ClientName: "Claude"}))
	if got := attr(elements(doc, named("form"))[0], "action"); got != "/oauth2/login" {
		t.Errorf("action %q", got)
	}
	for _, tc := range []struct{ name, kind, autocomplete, value string }{
		{"state", "hidden", "off", "mcpls_x"},
		{"email", "email", "username", ""},
		{"password", "password", "current-password", ""},
	} {
		n := field(t, doc, tc.name)
		if attr(n, "type") != tc.kind || attr(n, "autocomplete") != tc.autocomplete || attr(n, "value") != tc.value {
			t.Errorf("field %s: %v", tc.name, n.Attr)
		}
	}
	if !has(field(t, doc, "email"), "autofocus") || has(field(t, doc, "password"), "autofocus") {
		t.Error("a new sign-in starts at the e-mail address")
	}
	if got := text(elements(doc, named("main"))[0]); !strings.Contains(got, "to continue to “Claude”") {
		t.Errorf("the page says %q", got)
	}
	if alerts := elements(doc, func(n *html.Node) bool { return attr(n, "role") == "alert" }); len(alerts) != 0 {
		t.Error("an alert without an error")
	}
}

func TestSignInErrorIsAnnounced(t *testing.T) {
	w := signIn(http.StatusTooManyRequests, SignIn{
		Email: "ada@example.com", Error: "Too many attempts.", RetryAfter: 90*time.Second + time.Millisecond,
	})
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "91" {
		t.Errorf("status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	doc := parse(t, w)
	alerts := elements(doc, func(n *html.Node) bool { return attr(n, "role") == "alert" })
	if len(alerts) != 1 || text(alerts[0]) != "Too many attempts. You can try again in 2 minutes." {
		t.Fatalf("alerts: %d", len(alerts))
	}
	for _, name := range []string{"email", "password"} {
		if attr(field(t, doc, name), "aria-describedby") != attr(alerts[0], "id") {
			t.Errorf("field %s is not described by the error", name)
		}
	}
	if got := text(elements(doc, named("title"))[0]); got != "Error: Sign in" {
		t.Errorf("title %q", got)
	}
	if attr(field(t, doc, "email"), "value") != "ada@example.com" || !has(field(t, doc, "password"), "autofocus") {
		t.Error("a second attempt starts at the password")
	}
}

func TestChooseHasOneButtonForEachProvider(t *testing.T) {
	doc := parse(t, get(func(w http.ResponseWriter, r *http.Request) {
		WriteChoose(w, r, Choose{Action: "/oauth2/choose", Ticket: "mcpct_x", Providers: []Provider{
			{"google", "Google"}, {"a\"b", "\u200b"}, {"local", "Example Inc"},
		}})
	}))
	forms := elements(doc, named("form"))
	if len(forms) != 1 || attr(forms[0], "action") != "/oauth2/choose" || attr(field(t, doc, "ticket"), "value") != "mcpct_x" {
		t.Fatalf("%d forms", len(forms))
	}
	want := []struct{ id, says string }{
		{"google", "Continue with Google"},
		// The id is posted as it is; only what is shown is cleaned.
		{"a\"b", "Continue with a'b"},
		{"local", "Continue with Example Inc"},
	}
	buttons := elements(doc, named("button"))
	if len(buttons) != len(want) {
		t.Fatalf("%d buttons", len(buttons))
	}
	for i, b := range buttons {
		if attr(b, "name") != "provider" || attr(b, "value") != want[i].id || text(b) != want[i].says {
			t.Errorf("button %d: %v %q", i, b.Attr, text(b))
		}
	}
}

func TestChooseWithoutProvidersAsksNothing(t *testing.T) {
	doc := parse(t, get(func(w http.ResponseWriter, r *http.Request) { WriteChoose(w, r, Choose{}) }))
	if n := len(elements(doc, named("form", "button"))); n != 0 {
		t.Errorf("%d forms and buttons", n)
	}
}
