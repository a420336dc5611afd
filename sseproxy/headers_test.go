package sseproxy

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// serve runs one request through a guard and returns the header that next got.
func serve(t testing.TB, g *Guard, r *http.Request, id *Identity) http.Header {
	t.Helper()
	var got http.Header
	err := g.Serve(httptest.NewRecorder(), r, id, handlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		got = r.Header
		if r.Trailer != nil {
			t.Error("request trailers reached the next handler")
		}
		return nil
	}))
	if err != nil {
		t.Fatalf("serving: %v", err)
	}
	return got
}

type handlerFunc func(http.ResponseWriter, *http.Request) error

func (f handlerFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return f(w, r) }

var alice = &Identity{Access: sessions.Access{
	Subject: "alice", Email: "alice@example.com", Groups: "eng,ops", ClientID: "dcr-1", ClientName: "Some Client",
	Scope: "read write", UserIssuer: "https://idp.example", Resource: "https://mcp.example/github",
}}

func TestServeRemovesWhatAClientMayNotSay(t *testing.T) {
	for _, name := range []string{
		"Authorization", "X-Forwarded-User", "x-forwarded-user", "X_Forwarded_User", "X.Forwarded.Groups",
		"X-Forwarded_Email", "X-FORWARDED-USER", "X-Forwarded-User.", "X-Forwarded-Preferred-Username",
		"X-Auth-Request-User", "X-Auth-Request-Anything", "X_auth_request_email", "Remote-User", "Remote_user",
		"X-Remote-User", "X-Webauth-User", "X-WEBAUTH-USER", "Cf-Access-Authenticated-User-Email",
		"X-Mcp-Identity", "X_mcp_identity", "Cf-Access-Jwt-Assertion", "X-Goog-Authenticated-User-Email", "X-Goog-Iap-Jwt-Assertion",
		"Tailscale-User-Login", "X-Pomerium-Claim-Email", "X-Authentik-Username", "X-Amzn-Oidc-Identity",
		"X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Uri", "X-Http-Method-Override", "X-Http-Method",
		"Proxy", "Proxy-Authorization", "Client-Cert", "X-Ssl-Client-S-Dn", "Mcp_session_id", "Mcp.Session.Id",
		"mcp-session-id", "Authorization_", "cookie", "Upgrade", ":protocol",
		"X-Remote-Extra-" + strings.Repeat("a", 100),
		"X!Forwarded~User", "X~Api", "Some|Name", "A`b", "Mcp*Name", "X_Forwarded_For", "X.Forwarded.Proto", "Content_Type", "Content.Length",
		"Transfer_Encoding", "Accept_Encoding", "Mcp_Param_Region", "Sec_Fetch_Site", "Proxy_Connection", "Early_Data",
		"Tailscale-App-Capabilities", "X-Consumer-Username", "X_credential_identifier", "X-Anonymous-Consumer", "X-Authenticated-Scope",
		"X-Forwarded-Tls-Client-Cert-Info", "X-Ssl-Cert", "X-Userinfo", "X-Id-Token", "X-Auth-Username", "X-Authelia-Url",
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", nil)
			r.Header[name] = []string{"evil", "evil again"}
			r.Trailer = http.Header{"X-Forwarded-User": {"evil"}}
			for name, values := range serve(t, New(Config{}), r, alice) {
				if strings.Contains(strings.Join(values, " "), "evil") {
					t.Errorf("%s: %q reached the upstream", name, values)
				}
			}
		})
	}
}

func TestServeKeepsWhatBelongsToTheRequest(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	want := http.Header{
		"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"},
		"Cookie": {"theirs=1"}, "Last-Event-Id": {"7"}, "Mcp-Session-Id": {"s"}, "Mcp-Protocol-Version": {"2025-11-25"},
		"Mcp-Method": {"tools/call"}, "Mcp-Name": {"=?base64?eA==?="}, "Mcp-Param-Region": {"eu"},
		"X-Api-Key": {"k"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Request_id": {"r"}, "X.Trace": {"t"}, "X-Auth-Token": {"a"}, "Connection": {"keep-alive"},
	}
	r.Header = want.Clone()
	got := serve(t, New(Config{}), r, &Identity{})
	for name, values := range want {
		if !slices.Equal(got[name], values) {
			t.Errorf("%s = %q, want %q", name, got[name], values)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d headers, want %d: %v", len(got), len(want), got)
	}
}

func TestServeSetsTheIdentity(t *testing.T) {
	custom := New(Config{IdentityHeaders: []IdentityHeader{
		{"x-user", Subject}, {"X-Mail", Email}, {"X-Teams", Groups}, {"X-Client", ClientID}, {"X-Client-Name", ClientName},
		{"X-Scope", Scope}, {"X-Issuer", UserIssuer}, {"X-User-Again", Subject}, {"Host", Subject}, {"X-None", Claim(99)},
	}})
	for _, tc := range []struct {
		name  string
		guard *Guard
		id    *Identity
		sent  http.Header
		want  http.Header
	}{
		{"under the default names", New(Config{}), alice, nil, http.Header{
			"X-Forwarded-User": {"alice"}, "X-Forwarded-Email": {"alice@example.com"}, "X-Forwarded-Groups": {"eng,ops"},
		}},
		{"under names of the operator's, invalid ones left out", custom, alice, nil, http.Header{
			"X-User": {"alice"}, "X-Mail": {"alice@example.com"}, "X-Teams": {"eng,ops"}, "X-Client": {"dcr-1"},
			"X-Client-Name": {"Some Client"}, "X-Scope": {"read write"}, "X-Issuer": {"https://idp.example"}, "X-User-Again": {"alice"},
		}},
		{"and nothing the client sent under them", custom, &Identity{}, http.Header{
			"X-User": {"evil"}, "X_mail": {"evil"}, "X-None": {"evil"}, "X-Forwarded-User": {"evil"},
		}, http.Header{}},
		{"to nobody if there are no names", New(Config{IdentityHeaders: []IdentityHeader{}}), alice, nil, http.Header{}},
		{"without a claim that could end its header", New(Config{}), &Identity{Access: sessions.Access{Subject: "a\r\nX-Admin: 1", Email: "é"}}, nil,
			http.Header{"X-Forwarded-Email": {"%C3%A9"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", nil)
			r.Header = tc.sent.Clone()
			if r.Header == nil {
				r.Header = http.Header{}
			}
			got := serve(t, tc.guard, r, tc.id)
			if len(got) != len(tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			for name, values := range tc.want {
				if !slices.Equal(got[name], values) {
					t.Errorf("%s = %q, want %q", name, got[name], values)
				}
			}
			// One backing array must not let one header grow into the next.
			for name := range got {
				got.Add(name, "more")
			}
			for name, values := range tc.want {
				if got[name][0] != values[0] || got[name][1] != "more" {
					t.Errorf("%s = %q after adding to every header", name, got[name])
				}
			}
		})
	}
}

// A proxy removes the headers that Connection names after the identity has been set (CVE-2025-48865).
func TestServeReducesConnection(t *testing.T) {
	for _, tc := range []struct {
		name, connection, want string
		upgrades               bool
	}{
		{name: "absent"},
		{name: "keep-alive stays", connection: "Keep-Alive", want: "Keep-Alive"},
		{name: "close stays", connection: "close", want: "close"},
		{name: "an identity header goes", connection: "close, X-Forwarded-User"},
		{name: "so does a hop-by-hop header", connection: "X-Hop"},
		{name: "an upgrade goes", connection: "Upgrade"},
		{name: "an upgrade stays if it may", connection: "upgrade, X-Forwarded-User", want: "Upgrade", upgrades: true},
		{name: "empty members", connection: ",, ,", upgrades: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			if tc.connection != "" {
				r.Header.Set("Connection", tc.connection)
			}
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("X-Hop", "mine")
			got := serve(t, New(Config{Upgrades: tc.upgrades}), r, alice)
			if c := got.Get("Connection"); c != tc.want {
				t.Errorf("Connection = %q, want %q", c, tc.want)
			}
			if got.Get("X-Forwarded-User") != "alice" {
				t.Error("the identity is gone")
			}
			if hop := got.Get("X-Hop"); (hop == "") != strings.Contains(tc.connection, "X-Hop") {
				t.Errorf("X-Hop = %q", hop)
			}
			if up := got.Get("Upgrade"); (up != "") != tc.upgrades {
				t.Errorf("Upgrade = %q", up)
			}
		})
	}
}

func TestServeStripsTheEdgesOwnCookies(t *testing.T) {
	r := httptest.NewRequest("POST", "/", nil)
	r.Header["Cookie"] = []string{
		"a=1; __Host-" + sessions.SessionCookieName + "=evil; b=\"2\"", sessions.LoginCookieName + "=evil", "c=3",
	}
	got := strings.Join(serve(t, New(Config{}), r, alice)["Cookie"], "; ")
	if got != "a=1; b=\"2\"; c=3" {
		t.Errorf("the upstream got %q", got)
	}
}

func TestCleanRequestLeavesTheRestAlone(t *testing.T) {
	for name, clean := range map[string]func(*http.Request){
		"package": CleanRequest,
		"guard":   New(Config{IdentityHeaders: []IdentityHeader{{"X-Who", Subject}}}).CleanRequest,
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/public", nil)
			r.Header = http.Header{"Authorization": {"Basic eA=="}, "X-Forwarded-User": {"evil"}, "X_who": {"guess"},
				"X-Original-Url": {"/github"}, "Accept": {"*/*"}}
			r.Trailer = http.Header{"X-Forwarded-User": nil}
			clean(r)
			want := 3
			if name == "guard" {
				want = 2
			}
			if len(r.Header) != want || r.Header.Get("Authorization") == "" || r.Header.Get("Accept") == "" || r.Trailer != nil {
				t.Errorf("left with %v", r.Header)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	for _, name := range []string{"X-Forwarded-User", "x_forwarded.user-", "Mcp_Session-Id", "X-Goog_x", "Accept", "X!Y", "X_Forwarded_For", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		h := http.Header{name: {"v"}}
		clean(h, reservedNames)
		// What CGI makes of the name, in the plainest words.
		folded := strings.TrimRight(strings.Map(func(r rune) rune {
			if r < 128 && (r|0x20 >= 'a' && r|0x20 <= 'z' && r >= 'A' || r >= '0' && r <= '9') {
				return r
			}
			return '-'
		}, name), "-")
		canonical, ok := reservedNames[strings.ToLower(folded)]
		if _, left := h[name]; left && ok && name != canonical {
			t.Errorf("%q is left, and reads as %q", name, folded)
		}
		if _, left := h[name]; left && strings.ContainsAny(name, "!#$%&'*+^`|~ \t\x00/") {
			t.Errorf("%q is left, with characters that nobody uses", name)
		}
		for _, prefix := range reservedPrefixes {
			if _, left := h[name]; left && strings.HasPrefix(strings.ToLower(folded), prefix) {
				t.Errorf("%q is left, and reads as one of %q", name, prefix)
			}
		}
	})
}

// Whatever a client writes there, nothing that is set afterwards can be made to disappear by it.
func FuzzConnection(f *testing.F) {
	for _, value := range []string{"close", "close, X-Forwarded-User", "upgrade,keep-alive", ",, x", "Te\t, Mcp-Session-Id", "\"a,b\"", ""} {
		f.Add(value, value, true)
	}
	f.Fuzz(func(t *testing.T, first, second string, upgrades bool) {
		h := http.Header{"Connection": {first, second}, "Upgrade": {"websocket"}, "X-Kept": {"kept"}}
		if first == "" {
			h["Connection"] = []string{second}
		}
		reduceConnection(h, upgrades)
		for _, value := range h["Connection"] {
			switch strings.ToLower(value) {
			case "close", "keep-alive", "upgrade":
			default:
				t.Errorf("%q and %q became %q", first, second, h["Connection"])
			}
		}
		if !upgrades && (h["Upgrade"] != nil || strings.EqualFold(h.Get("Connection"), "upgrade")) {
			t.Errorf("%q and %q upgrade: %v", first, second, h)
		}
		for option := range strings.SplitSeq(first+","+second, ",") {
			if strings.EqualFold(strings.Trim(option, " \t"), "X-Kept") && h["X-Kept"] != nil {
				t.Errorf("%q and %q leave what they name", first, second)
			}
		}
	})
}
