package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// page kinds, each filled with the same text in every string that the caller may set.
var kinds = []struct {
	name  string
	write func(w http.ResponseWriter, r *http.Request, text string)
}{
	{"consent to a host", func(w http.ResponseWriter, r *http.Request, text string) {
		v := filled[Consent](text)
		v.ClientHost, v.UserCode = "", ""
		WriteConsent(w, r, v)
	}},
	{"consent to a program on this device", func(w http.ResponseWriter, r *http.Request, text string) {
		v := filled[Consent](text)
		v.RedirectKind, v.UserCode = RedirectLoopback, ""
		WriteConsent(w, r, v)
	}},
	{"consent to a device", func(w http.ResponseWriter, r *http.Request, text string) {
		WriteConsent(w, r, filled[Consent](text))
	}},
	{"device", func(w http.ResponseWriter, r *http.Request, text string) {
		WriteDevice(w, r, http.StatusOK, filled[Device](text))
	}},
	{"consent before sign-in", func(w http.ResponseWriter, r *http.Request, text string) {
		v := filled[Consent](text)
		v.Account, v.SwitchAction, v.UserCode, v.RedirectKind = "", "", "", RedirectPrivateScheme
		WriteConsent(w, r, v)
	}},
	{"sign-in", func(w http.ResponseWriter, r *http.Request, text string) {
		WriteSignIn(w, r, http.StatusOK, filled[SignIn](text))
	}},
	{"choice", func(w http.ResponseWriter, r *http.Request, text string) {
		WriteChoose(w, r, filled[Choose](text))
	}},
	{"choice by e-mail address", func(w http.ResponseWriter, r *http.Request, text string) {
		v := filled[Choose](text)
		v.ByEmail = true
		WriteChoose(w, r, v)
	}},
	{"sign-out", func(w http.ResponseWriter, r *http.Request, text string) {
		WriteSignOut(w, r, filled[SignOut](text))
	}},
	{"credentials", func(w http.ResponseWriter, r *http.Request, text string) {
		v := filled[Credentials](text)
		v.Servers = append(v.Servers, v.Servers[0], v.Servers[0])
		v.Servers[1].Connects, v.Servers[2].Connects = true, true
		v.Servers[1].Stored, v.Servers[2].Stored, v.Servers[2].Ended, v.Servers[0].Wrong = true, true, true, true
		WriteCredentials(w, r, http.StatusOK, v)
	}},
	{"message", func(w http.ResponseWriter, r *http.Request, text string) {
		WriteMessage(w, r, http.StatusOK, filled[Message](text))
	}},
	{"message with a link", func(w http.ResponseWriter, r *http.Request, text string) {
		v := filled[Message](text)
		v.Link = "/my"
		WriteMessage(w, r, http.StatusOK, v)
	}},
	{"own page", func(w http.ResponseWriter, r *http.Request, text string) {
		WritePortal(w, r, http.StatusOK, filled[Portal](text))
	}},
	{"own page with nothing on it", func(w http.ResponseWriter, r *http.Request, text string) {
		WritePortal(w, r, http.StatusOK, Portal{Action: "/my", SiteName: text, Account: text})
	}},
	{"own page of somebody with applications of each kind", func(w http.ResponseWriter, r *http.Request, text string) {
		v := filled[Portal](text)
		for _, origin := range []AppOrigin{VerifiedHost, SetUpByOperator} {
			app := filled[ConnectedApp](text)
			app.Origin = origin
			v.Apps = append(v.Apps, app)
		}
		v.Browsers = append(v.Browsers, SignedInBrowser{UserAgent: text, This: true})
		WritePortal(w, r, http.StatusOK, v)
	}},
	{"tokens", func(w http.ResponseWriter, r *http.Request, text string) {
		v := filled[Tokens](text)
		v.Resources = append(v.Resources, TokenResource{URI: text, Chosen: true})
		v.Scopes = append(v.Scopes, TokenScope{Name: text, Chosen: true})
		WriteTokens(w, r, http.StatusOK, v)
	}},
	{"no tokens", func(w http.ResponseWriter, r *http.Request, text string) {
		WriteTokens(w, r, http.StatusOK, Tokens{SiteName: text})
	}},
	{"new token", func(w http.ResponseWriter, r *http.Request, text string) {
		WriteMinted(w, r, filled[MintedToken](text))
	}},
	{"leaving", func(w http.ResponseWriter, r *http.Request, text string) {
		v := filled[Leaving](text)
		v.Target = "cursor://callback?code=" + url.QueryEscape(text)
		WriteLeaving(w, r, v)
	}},
}

func TestEveryPageCarriesItsHeaders(t *testing.T) {
	want := map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"X-Frame-Options":        "DENY",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
		"Cache-Control":          "no-store",
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			w := get(func(w http.ResponseWriter, r *http.Request) { k.write(w, r, "plain") })
			if w.Code != http.StatusOK {
				t.Errorf("status %d", w.Code)
			}
			for name, value := range want {
				if got := w.Header().Values(name); len(got) != 1 || got[0] != value {
					t.Errorf("%s: %q, want %q", name, got, value)
				}
			}
			if got := w.Header().Get("Content-Length"); got != strconv.Itoa(w.Body.Len()) {
				t.Errorf("Content-Length %s for %d bytes", got, w.Body.Len())
			}
			if w.Header().Get("Permissions-Policy") == "" {
				t.Error("no Permissions-Policy")
			}
			// It would cut web clients off the popup that they sign in with.
			if got := w.Header().Get("Cross-Origin-Opener-Policy"); got != "" {
				t.Errorf("Cross-Origin-Opener-Policy: %s", got)
			}
			checkPolicy(t, w)
		})
	}
}

// checkPolicy compares the policy with the style element that the page really has.
func checkPolicy(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	styles := elements(parse(t, w), named("style"))
	if len(styles) != 1 {
		t.Fatalf("%d style elements", len(styles))
	}
	sum := sha256.Sum256([]byte(styles[0].FirstChild.Data))
	want := map[string]string{
		"default-src":     "'none'",
		"style-src":       "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
		"img-src":         "'none'",
		"base-uri":        "'none'",
		"frame-ancestors": "'none'",
	}
	got := map[string]string{}
	for _, directive := range strings.Split(w.Header().Get("Content-Security-Policy"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), " ")
		got[name] = value
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("policy %v, want %v", got, want)
	}
}

func TestHeadGetsHeadersOnly(t *testing.T) {
	for _, k := range kinds {
		full := get(func(w http.ResponseWriter, r *http.Request) { k.write(w, r, "plain") })
		w := httptest.NewRecorder()
		k.write(w, httptest.NewRequest(http.MethodHead, "/", nil), "plain")
		if w.Body.Len() != 0 {
			t.Errorf("%s: %d bytes of body", k.name, w.Body.Len())
		}
		if w.Code != full.Code || !reflect.DeepEqual(w.Header(), full.Header()) {
			t.Errorf("%s: HEAD answers %d %v, GET %d %v", k.name, w.Code, w.Header(), full.Code, full.Header())
		}
	}
}

func TestABrokenTemplateShowsNothingOfThePage(t *testing.T) {
	broken := template.Must(template.New("layout").Parse("secret so far {{.Missing}}"))
	w := get(func(w http.ResponseWriter, r *http.Request) { write(w, r, http.StatusOK, broken, frame{}) })
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d", w.Code)
	}
	if got := w.Header().Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("Content-Type %s", got)
	}
	if body := w.Body.String(); strings.Contains(body, "secret") || strings.Contains(body, "Missing") {
		t.Errorf("body %q", body)
	}
	if w.Header().Get("X-Frame-Options") != "DENY" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", w.Header())
	}
}

func TestCookiesSetBeforeAreKept(t *testing.T) {
	w := get(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		WriteConsent(w, r, Consent{})
	})
	if got := w.Header().Get("Set-Cookie"); got != "a=b" {
		t.Errorf("Set-Cookie %q", got)
	}
}

var hostile = []string{
	`"><script>alert(1)</script>`,
	`' onmouseover='alert(1)' x='`,
	`x" autofocus onfocus="alert(1)`,
	`</title></style></textarea><img src=x onerror=alert(1)>`,
	`javascript:alert(1)`,
	`//evil.example/\evil.example`,
	`<!--`, `-->`, `<![CDATA[`, `<base href=//evil.example>`,
	`{{.Ticket}}{{template "main"}}`,
	"a\x00<b>\u2028\u202e<svg/onload=alert(1)>",
	`&lt;script&gt;&#60;b&#62;`,
	"\xff\xfe<a href=//evil.example>",
	strings.Repeat(`<form action=//evil.example>`, 2000),
}

func TestHostileTextStaysText(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			page := func(s string) *html.Node {
				return parse(t, get(func(w http.ResponseWriter, r *http.Request) { k.write(w, r, s) }))
			}
			want := skeleton(page("plain"))
			for _, s := range hostile {
				doc := page(s)
				if got := skeleton(doc); got != want {
					t.Errorf("%.60q changes the document:\n%s\nwant\n%s", s, got, want)
				}
				checkInert(t, doc)
			}
		})
	}
}

func TestPagesAreAccessible(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			doc := parse(t, get(func(w http.ResponseWriter, r *http.Request) { k.write(w, r, "plain") }))
			for tag, want := range map[string]int{"html": 1, "title": 1, "main": 1, "h1": 1, "header": 1} {
				if got := len(elements(doc, named(tag))); got != want {
					t.Errorf("%d <%s>, want %d", got, tag, want)
				}
			}
			if lang := attr(elements(doc, named("html"))[0], "lang"); lang != "en" {
				t.Errorf("lang %q", lang)
			}
			ids := map[string]int{}
			for _, n := range elements(doc, func(n *html.Node) bool { return attr(n, "id") != "" }) {
				ids[attr(n, "id")]++
			}
			for id, count := range ids {
				if count > 1 {
					t.Errorf("id %q is used %d times", id, count)
				}
			}
			for _, n := range elements(doc, func(*html.Node) bool { return true }) {
				for _, ref := range strings.Fields(attr(n, "aria-describedby") + " " + attr(n, "aria-labelledby")) {
					if ids[ref] == 0 {
						t.Errorf("<%s> refers to %q, which is not on the page", n.Data, ref)
					}
				}
			}
			checkFields(t, doc)
		})
	}
}

func checkFields(t *testing.T, doc *html.Node) {
	t.Helper()
	labelled := map[string]bool{}
	for _, n := range elements(doc, named("label")) {
		labelled[attr(n, "for")] = text(n) != ""
	}
	for _, n := range elements(doc, named("input")) {
		if attr(n, "type") != "hidden" && !labelled[attr(n, "id")] {
			t.Errorf("field %q has no label", attr(n, "name"))
		}
	}
	for _, n := range elements(doc, named("button", "a")) {
		if text(n) == "" {
			t.Errorf("<%s> without a name", n.Data)
		}
	}
	for _, n := range elements(doc, named("form")) {
		if attr(n, "method") != "post" {
			t.Errorf("form with method %q", attr(n, "method"))
		}
	}
}
