package sessions_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func TestCookieAttributes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		secure bool
		write  func(sessions.Cookies, http.ResponseWriter)
		want   string
	}{
		{"set over TLS", true, func(c sessions.Cookies, w http.ResponseWriter) {
			c.Set(w, sessions.SessionCookieName, "value", time.Hour)
		},
			"__Host-mcp_auth_session=value; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"},
		{"set on plain loopback", false, func(c sessions.Cookies, w http.ResponseWriter) {
			c.Set(w, sessions.LoginCookieName, "value", time.Minute)
		},
			"mcp_auth_login=value; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"},
		{"set for less than a second", true, func(c sessions.Cookies, w http.ResponseWriter) { c.Set(w, sessions.ConsentCookieName, "value", 0) },
			"__Host-mcp_auth_consent=value; Path=/; Max-Age=1; HttpOnly; Secure; SameSite=Lax"},
		{"cleared over TLS", true, func(c sessions.Cookies, w http.ResponseWriter) { c.Clear(w, sessions.SessionCookieName) },
			"__Host-mcp_auth_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		{"cleared on plain loopback", false, func(c sessions.Cookies, w http.ResponseWriter) { c.Clear(w, sessions.SessionCookieName) },
			"mcp_auth_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			tc.write(sessions.Cookies{Secure: tc.secure}, w)
			if got := w.Header().Values("Set-Cookie"); len(got) != 1 || got[0] != tc.want {
				t.Errorf("Set-Cookie: %q, want %q", got, tc.want)
			}
		})
	}
}

func TestCookieGet(t *testing.T) {
	const name = sessions.SessionCookieName
	for _, tc := range []struct {
		name   string
		lines  []string
		secure bool
		want   string
	}{
		{"alone", []string{"__Host-mcp_auth_session=v"}, true, "v"},
		{"among others", []string{"a=1; __Host-mcp_auth_session=v; b=2"}, true, "v"},
		{"in a line of its own", []string{"a=1", "__Host-mcp_auth_session=v"}, true, "v"},
		{"without the prefix over TLS", []string{"mcp_auth_session=planted"}, true, ""},
		{"without the prefix on plain loopback", []string{"mcp_auth_session=v"}, false, "v"},
		{"with the prefix on plain loopback", []string{"__Host-mcp_auth_session=v"}, false, ""},
		{"beside a planted one without the prefix", []string{"mcp_auth_session=planted; __Host-mcp_auth_session=v"}, true, "v"},
		{"absent", []string{"a=1"}, true, ""},
		{"no cookies at all", nil, true, ""},
		{"empty", []string{"__Host-mcp_auth_session="}, true, ""},
		{"twice", []string{"__Host-mcp_auth_session=v; __Host-mcp_auth_session=w"}, true, ""},
		{"twice the same", []string{"__Host-mcp_auth_session=v; __Host-mcp_auth_session=v"}, true, ""},
		{"twice in two lines", []string{"__Host-mcp_auth_session=v", "__Host-mcp_auth_session=w"}, true, ""},
		{"in another case", []string{"__host-mcp_auth_session=v"}, true, ""},
		{"as long as allowed", []string{"__Host-mcp_auth_session=" + strings.Repeat("v", 4096)}, true, strings.Repeat("v", 4096)},
		{"longer", []string{"__Host-mcp_auth_session=" + strings.Repeat("v", 4097)}, true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Cookie"] = tc.lines
			if got := (sessions.Cookies{Secure: tc.secure}).Get(r, name); got != tc.want {
				t.Errorf("Get: %q, want %q", got, tc.want)
			}
		})
	}
}

func TestStripCookies(t *testing.T) {
	for _, tc := range []struct {
		name       string
		have, want []string
	}{
		{"none at all", nil, nil},
		{"none of ours", []string{"a=1;b=2 ; c=\"x;y\""}, []string{"a=1;b=2 ; c=\"x;y\""}},
		{"only ours", []string{"__Host-mcp_auth_session=v"}, nil},
		{"all of ours", []string{"mcp_auth_session=v; mcp_auth_login=v; mcp_auth_consent=v; __Host-mcp_auth_login=v; __Host-mcp_auth_consent=v"}, nil},
		{"ours first", []string{"__Host-mcp_auth_session=v; a=1; b=2"}, []string{"a=1; b=2"}},
		{"ours in the middle", []string{"a=1; __Host-mcp_auth_session=v; b=2"}, []string{"a=1; b=2"}},
		{"ours last", []string{"a=1; b=2; mcp_auth_session=v"}, []string{"a=1; b=2"}},
		{"ours repeated", []string{"mcp_auth_session=v; a=1; mcp_auth_session=w"}, []string{"a=1"}},
		{"ours without spaces", []string{"a=1;mcp_auth_session=v;b=2"}, []string{"a=1;b=2"}},
		{"ours with odd spaces", []string{"a=1;\t mcp_auth_session =v ;b=2"}, []string{"a=1;b=2"}},
		{"ours without a value", []string{"a=1; mcp_auth_session; mcp_auth_login="}, []string{"a=1"}},
		{"ours with signs of equality", []string{"mcp_auth_session=a=b=c; a=1"}, []string{"a=1"}},
		{"names that contain ours", []string{"mcp_auth_session2=v; xmcp_auth_session=v; mcp_auth_other=v"}, []string{"mcp_auth_session2=v; xmcp_auth_session=v; mcp_auth_other=v"}},
		{"ours as a value", []string{"a=mcp_auth_session; b=\"mcp_auth_session=v\""}, []string{"a=mcp_auth_session; b=\"mcp_auth_session=v\""}},
		{"lines, one of them ours", []string{"a=1", "mcp_auth_session=v", "b=2"}, []string{"a=1", "b=2"}},
		{"other bytes beside ours", []string{"a=\xff\x00%; mcp_auth_session=v; =;; b"}, []string{"a=\xff\x00%; =;; b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{"X-Other": {"mcp_auth_session=v"}}
			if tc.have != nil {
				h["Cookie"] = tc.have
			}
			before := slices.Clone(tc.have)
			sessions.StripCookies(h)
			got, present := h["Cookie"]
			if !slices.Equal(got, tc.want) || present != (tc.want != nil) {
				t.Errorf("left %q, want %q", got, tc.want)
			}
			if !slices.Equal(tc.have, before) {
				t.Errorf("the slice of the original request became %q", tc.have)
			}
			if h.Get("X-Other") != "mcp_auth_session=v" {
				t.Error("another header was changed")
			}
		})
	}
}

// An upstream must not sign a browser in or out of the edge in front of it.
func TestStripSetCookies(t *testing.T) {
	for _, tc := range []struct {
		name       string
		sent, want []string
	}{
		{"none", nil, nil},
		{"theirs", []string{"a=1; Path=/", "b=mcp_auth_session"}, []string{"a=1; Path=/", "b=mcp_auth_session"}},
		{"ours alone", []string{"__Host-mcp_auth_session=x; Secure; Path=/"}, nil},
		{"ours between theirs", []string{"a=1", "mcp_auth_login=x; Max-Age=0", "b=2"}, []string{"a=1", "b=2"}},
		{"ours, without a value", []string{"mcp_auth_consent"}, nil},
		{"ours, with white space around", []string{" \t__Host-mcp_auth_session \t= x"}, nil},
		{"ours as the value of a cookie without a name", []string{"=mcp_auth_session=x", " = mcp_auth_session=x; Path=/"}, nil},
		{"a name that begins alike", []string{"mcp_auth_session2=x"}, []string{"mcp_auth_session2=x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			if tc.sent != nil {
				h["Set-Cookie"] = slices.Clone(tc.sent)
			}
			before := h["Set-Cookie"]
			sessions.StripSetCookies(h)
			if !slices.Equal(h["Set-Cookie"], tc.want) || !slices.Equal(before, tc.sent) {
				t.Errorf("got %q, want %q", h["Set-Cookie"], tc.want)
			}
		})
	}
}

func TestStripCookiesAllocates(t *testing.T) {
	h := http.Header{"Cookie": {"a=1; b=2", "c=3"}}
	if allocs := testing.AllocsPerRun(100, func() { sessions.StripCookies(h) }); allocs != 0 {
		t.Errorf("%v allocations although none is ours", allocs)
	}
}

func FuzzStripCookies(f *testing.F) {
	f.Add("a=1; __Host-mcp_auth_session=v; b=2", "mcp_auth_login=v")
	f.Add("mcp_auth_session", ";;=; ")
	f.Add("\tmcp_auth_consent\t=x;mcp_auth_consent2=y", "")
	names := []string{sessions.ConsentCookieName, sessions.LoginCookieName, sessions.SessionCookieName}
	f.Fuzz(func(t *testing.T, one, two string) {
		// A cookie that nobody of us has set must survive whatever stands around it.
		h := http.Header{"Cookie": {one, two, "kept=1; " + one, one + "; kept=1"}}
		sessions.StripCookies(h)
		r := &http.Request{Header: h}
		for _, name := range names {
			for _, spelling := range []string{name, "__Host-" + name} {
				if found := r.CookiesNamed(spelling); len(found) > 0 {
					t.Errorf("%q and %q: %q is left of %q", one, two, found, h)
				}
			}
		}
		kept := 0
		for _, line := range h["Cookie"] {
			if strings.HasPrefix(line, "kept=1") || strings.HasSuffix(line, "kept=1") {
				kept++
			}
		}
		if kept < 2 {
			t.Errorf("%q and %q: a foreign cookie was lost: %q", one, two, h)
		}
		again := h.Clone()
		sessions.StripCookies(again)
		if !slices.Equal(again["Cookie"], h["Cookie"]) {
			t.Errorf("stripping %q once more gives %q", h, again)
		}
	})
}
