package forms_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const origin = "https://mcp.example.com"

func newForms(t testing.TB, tenant string, ring *sessions.Ring) forms.Forms {
	t.Helper()
	return forms.Forms{Origin: tenant, Vault: &sessions.Vault{Ring: ring, Tenant: tenant}, Cookies: sessions.Cookies{Secure: true}}
}

func newRing(t testing.TB) *sessions.Ring {
	t.Helper()
	ring, err := sessions.NewRing(sessions.RingConfig{Store: memstore.New(nil)})
	if err == nil {
		err = ring.Load(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func post(body string, header ...string) *http.Request {
	r := httptest.NewRequest("POST", origin+"/my", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestReadTakesFormsOfOwnPagesOnly(t *testing.T) {
	early := post("a=1")
	early.TLS = &tls.ConnectionState{}
	for _, tc := range []struct {
		name string
		r    *http.Request
		want error
	}{
		{"as a page with no-referrer sends it", post("a=1", "Origin", "null", "Sec-Fetch-Site", "same-origin"), nil},
		{"as a program sends it", post("a=1"), nil},
		{"of the same origin", post("a=1", "Origin", origin), nil},
		{"of another origin", post("a=1", "Origin", "https://evil.example"), forms.ErrForeign},
		{"of the same host without TLS", post("a=1", "Origin", "http://mcp.example.com"), forms.ErrForeign},
		{"of a sandboxed page elsewhere", post("a=1", "Origin", "null", "Sec-Fetch-Site", "cross-site"), forms.ErrForeign},
		{"of a sister site", post("a=1", "Sec-Fetch-Site", "same-site"), forms.ErrForeign},
		{"typed into the address bar", post("a=1", "Sec-Fetch-Site", "none"), forms.ErrForeign},
		{"by GET", httptest.NewRequest("GET", origin+"/my?a=1", nil), forms.ErrMethod},
		{"before the handshake is complete", early, forms.ErrEarlyData},
		{"as JSON", post(`{"a":"1"}`, "Content-Type", "application/json"), forms.ErrUnreadable},
		{"with a parameter twice", post("a=1&a=2"), forms.ErrUnreadable},
		{"that is too long", post("a=" + strings.Repeat("x", 65<<10)), forms.ErrUnreadable},
		{"with too many parameters", post(strings.Repeat("a=1&", 101)), forms.ErrUnreadable},
		{"with broken escapes", post("a=%zz"), forms.ErrUnreadable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			form, err := newForms(t, origin, nil).Read(w, tc.r)
			if !errors.Is(err, tc.want) || (err == nil) != (form.Get("a") == "1") {
				t.Errorf("%v, %v; want %v", form, err, tc.want)
			}
			if tc.want == forms.ErrMethod && w.Header().Get("Allow") != "POST" {
				t.Errorf("Allow %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestReadLetsSomeParametersBeRepeated(t *testing.T) {
	got, err := newForms(t, origin, nil).Read(httptest.NewRecorder(), post("scope=a&scope=b&name=n"), "scope")
	want := url.Values{"scope": {"a", "b"}, "name": {"n"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := newForms(t, origin, nil).Read(httptest.NewRecorder(), post("scope=a&name=n&name=m"), "scope"); err == nil {
		t.Error("another one was repeated")
	}
}

func TestBodyIgnoresTheQuery(t *testing.T) {
	r := post("a=1")
	r.URL.RawQuery = "b=2"
	form, err := forms.Body(httptest.NewRecorder(), r)
	if err != nil || form.Has("b") {
		t.Errorf("%v, %v", form, err)
	}
}

func TestABrowserIsKnownByItsCookieAndOnlyHere(t *testing.T) {
	ring := newRing(t)
	f := newForms(t, origin, ring)
	w := httptest.NewRecorder()
	id, err := f.Browser(w, httptest.NewRequest("GET", origin, nil))
	if err != nil || len(w.Result().Cookies()) != 1 {
		t.Fatalf("%v, %d cookies", err, len(w.Result().Cookies()))
	}
	r := httptest.NewRequest("GET", origin, nil)
	cookie := w.Result().Cookies()[0]
	r.AddCookie(cookie)
	if known, ok := f.KnownBrowser(r); !ok || known != id {
		t.Errorf("known as %s, %v; want %s", known, ok, id)
	}
	again := httptest.NewRecorder()
	if known, err := f.Browser(again, r); err != nil || known != id || len(again.Result().Cookies()) != 0 {
		t.Errorf("%s, %v, and another cookie: %v", known, err, again.Result().Cookies())
	}
	if _, ok := newForms(t, "https://other.example.com", ring).KnownBrowser(r); ok {
		t.Error("known at another site")
	}
	for name, value := range map[string]string{"nothing": "", "rubbish": "mcpcc_x", "half of it": cookie.Value[:len(cookie.Value)/2]} {
		r := httptest.NewRequest("GET", origin, nil)
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: value})
		if _, ok := f.KnownBrowser(r); ok {
			t.Errorf("known by %s", name)
		}
	}
}

func FuzzBody(f *testing.F) {
	f.Add("a=1&b=2", "application/x-www-form-urlencoded")
	f.Add("a=%00&a=%ff", "application/x-www-form-urlencoded; charset=x")
	f.Add("&;=&%", "text/plain")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		r := httptest.NewRequest("POST", origin, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		form, err := forms.Body(httptest.NewRecorder(), r)
		if err != nil {
			var refused *forms.BodyError
			if !errors.As(err, &refused) || refused.Status < 400 {
				t.Errorf("error %v", err)
			}
			return
		}
		if forms.Repeated(form) {
			t.Errorf("a parameter twice: %v", form)
		}
	})
}
