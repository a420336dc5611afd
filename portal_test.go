package mcpauth

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// seesOwnPage reports whether the server shows the visitor what is theirs, and keeps the ticket.
func (v *visitor) seesOwnPage() bool {
	v.t.Helper()
	answer, _ := v.do("GET", "/oauth2/my", "", "", nil)
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	field := ticketInput.FindSubmatch(body)
	if field == nil || !strings.Contains(string(body), "Your account") {
		return false
	}
	v.ownTicket = string(field[1])
	return true
}

// makesToken reports whether the visitor gets a token with the ticket.
var personalToken = regexp.MustCompile(`mcput_[A-Za-z0-9_-]{40,}`)

// usesToken reports whether the token that the person made opens the resource.
func (v *visitor) usesToken() bool {
	answer, got := v.mcp(http.Header{"Authorization": {"Bearer " + v.personal}})
	return answer.StatusCode == http.StatusOK && got != nil
}

func (v *visitor) makesToken() bool {
	v.t.Helper()
	answer := v.form("/oauth2/my/tokens", url.Values{
		"ticket": {v.ownTicket}, "do": {"make_token"}, "name": {"ci"}, "resource": {v.issuer + "/mcp"}, "days": {"30"},
	})
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	v.personal = personalToken.FindString(string(body))
	return answer.StatusCode == http.StatusOK && v.personal != ""
}

func TestWhereThePortalIs(t *testing.T) {
	parts := &Resource{Paths: []string{"/github/*"}}
	for _, tc := range []struct {
		name      string
		portal    string
		resources []*Resource
		ours      []string
		others    []string
	}{
		{"on a site that is ours", "", nil, []string{"/my", "/my/tokens"}, []string{"/my/", "/MY", "/oauth2/my"}},
		{"on a site that is ours in parts", "", []*Resource{parts}, []string{"/oauth2/my", "/oauth2/my/tokens"}, []string{"/my", "/my/tokens"}},
		{"where the operator says", "/account", []*Resource{parts}, []string{"/account", "/account/tokens"}, []string{"/my", "/oauth2/my"}},
		{"nowhere", "off", nil, nil, []string{"/my", "/my/tokens", "/oauth2/my"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newTestHandler(t, tc.resources...)
			h.Portal = tc.portal
			var err error
			if h.fixed, err = h.newSite(testIssuer); err != nil {
				t.Fatal(err)
			}
			for path, want := range paths(tc.ours, tc.others) {
				r, _ := request("GET", testIssuer+path, nil)
				status, header, got := serve(t, h, r)
				if ours := status == http.StatusOK && got == nil && header.Get("X-Frame-Options") == "DENY"; ours != want {
					t.Errorf("%s: status %d, ours %v, want %v", path, status, ours, want)
				}
				if skip := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar); want && skip != nil {
					t.Errorf("%s is kept out of the access log", path)
				}
			}
		})
	}
	h := newTestHandler(t, parts)
	h.Portal = "/github/account"
	if _, err := h.newSite(testIssuer); err == nil || !strings.Contains(err.Error(), "lies in the resource /github") {
		t.Errorf("a page inside of a resource: %v", err)
	}
}

func paths(ours, others []string) map[string]bool {
	all := make(map[string]bool)
	for _, path := range ours {
		all[path] = true
	}
	for _, path := range others {
		all[path] = false
	}
	return all
}

func TestPeopleAreOfferedWhatTheyMayUse(t *testing.T) {
	engineering, err := access.NewPolicy([]access.Rule{{Kind: access.Group, Value: "engineering"}})
	if err != nil {
		t.Fatal(err)
	}
	h := newTestHandler(t, &Resource{Paths: []string{"/github/*"}, Name: "GitHub tools", Scopes: []string{"read"}}, &Resource{Paths: []string{"/linear/*"}})
	h.fixed.resources.all[0].Policy = engineering
	for _, tc := range []struct {
		name string
		user *sessions.User
		want []string
	}{
		{"all that there are", nil, []string{testIssuer + "/github", testIssuer + "/linear"}},
		{"somebody in the group", &sessions.User{Issuer: "x", Email: "a@example.com", Groups: []string{"staff", "engineering"}}, []string{testIssuer + "/github", testIssuer + "/linear"}},
		{"somebody else", &sessions.User{Issuer: "x", Email: "a@example.com"}, []string{testIssuer + "/linear"}},
		{"somebody who has left", &sessions.User{Issuer: "x", Email: "a@other.example"}, nil},
	} {
		var got []string
		for _, res := range h.fixed.resourcesOf(tc.user) {
			got = append(got, res.URI)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// trail is an audit log that can be read.
type trail struct {
	mu     sync.Mutex
	events []audit.Event
	ids    []string
}

func (l *trail) Record(ctx context.Context, e audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events, l.ids = append(l.events, e), append(l.ids, requestID(ctx))
}

// take returns what was recorded since the last call.
func (l *trail) take() []audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events, l.ids = nil, nil
	return events
}

func TestDenialsAreRecordedWithTheirRule(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github/*"}, Scopes: []string{"tools:read", "admin"}, RequiredScope: []string{"admin"}},
		&Resource{Paths: []string{"/linear"}})
	log := new(trail)
	h.audit = log
	github, linear := testIssuer+"/github", testIssuer+"/linear"
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	revoked := sessions.NewID()
	if err := h.runtime.revocations.Revoke(t.Context(), revoked, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, path string
		header     http.Header
		reason     string // "" means that it is no decision
		known      bool   // who was denied
	}{
		{"no token", "/linear", nil, "", false},
		{"an expired token", "/linear", bearer(h.token(t, linear, func(a *sessions.Access) {
			a.IssuedAt, a.ExpiresAt = a.IssuedAt-7200, a.ExpiresAt-7200
		})), "", false},
		{"a token that nobody made", "/linear", bearer("guess"), "invalid_token", false},
		{"a revoked token", "/linear", bearer(h.token(t, linear, func(a *sessions.Access) { a.Grant = revoked })), "revoked_token", true},
		{"a token of another resource", "/linear", bearer(h.token(t, github, nil)), "other_resource", true},
		{"a token of a leaver", "/linear", bearer(h.token(t, linear, func(a *sessions.Access) { a.Email = "eve@other.example" })), "not_admitted", true},
		{"a token that may too little", "/github", bearer(h.token(t, github, nil)), "insufficient_scope", true},
		{"a token in the query", "/linear?access_token=x", nil, "token_in_query", false},
		{"two tokens", "/linear", http.Header{"Authorization": {"Bearer a", "Bearer b"}}, "several_tokens", false},
		{"a page of another site", "/linear", http.Header{"Origin": {"https://evil.example"}}, "origin", false},
		{"a session of somebody else", "/linear", http.Header{
			"Authorization": bearer(h.token(t, linear, nil))["Authorization"], "Mcp-Session-Id": {"stolen"}, "Content-Type": {"application/json"},
		}, "unknown_session", true},
		{"the right token", "/linear", bearer(h.token(t, linear, nil)), "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i := range 2 {
				r, _ := request("POST", testIssuer+tc.path, tc.header)
				caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
				serve(t, h, r)
				events := log.take()
				if tc.reason == "" || i > 0 {
					if len(events) != 0 {
						t.Fatalf("request %d recorded %+v", i, events)
					}
					continue
				}
				if len(events) != 1 {
					t.Fatalf("recorded %+v, want one event", events)
				}
				e := events[0]
				if e.Type != audit.AccessDenied || e.Allowed || e.Reason != tc.reason || e.ClientAddr != "192.0.2.1" || e.Resource == "" {
					t.Errorf("recorded %+v", e)
				}
				if known := e.Subject != "" && e.ClientID != ""; known != tc.known {
					t.Errorf("recorded %+v, known %v, want %v", e, known, tc.known)
				}
			}
		})
	}
}

func TestUseOfTokensIsRecordedOnceAMinute(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github/*"}}, &Resource{Paths: []string{"/linear/*"}})
	log := new(trail)
	h.audit = log
	text, minted, err := h.fixed.vault.MintUserToken(t.Context(), sessions.PersonalToken{
		User: sessions.User{Issuer: "https://idp.example.com", Subject: "alice", Email: "alice@example.com"},
		Name: "nightly report", Resources: []string{testIssuer + "/github"}, ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	use := func(token string) int {
		r, _ := request("POST", testIssuer+"/github/mcp", http.Header{"Authorization": {"Bearer " + token}})
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
		status, _, _ := serve(t, h, r)
		return status
	}
	for range 3 {
		if status := use(text); status != http.StatusNoContent {
			t.Fatalf("status %d", status)
		}
	}
	want := audit.Event{
		Type: audit.TokenUsed, Allowed: true, Subject: "alice", Email: "alice@example.com", ClientName: "nightly report",
		Resource: testIssuer + "/github", Credential: minted.Label(), ClientAddr: "192.0.2.1",
	}
	if events := log.take(); len(events) != 1 || events[0] != want {
		t.Errorf("recorded %+v, want %+v", events, want)
	}
	use(h.token(t, testIssuer+"/github", nil))
	if events := log.take(); len(events) != 0 {
		t.Errorf("the use of an access token recorded %+v", events)
	}
	if err := h.fixed.vault.RevokeUserToken(t.Context(), sessions.User{Issuer: "https://idp.example.com", Subject: "alice"}.Key(), minted.ID); err != nil {
		t.Fatal(err)
	}
	if status := use(text); status != http.StatusUnauthorized {
		t.Errorf("status %d after it was revoked", status)
	}
	if events := log.take(); len(events) != 1 || events[0].Reason != "revoked_token" || events[0].Credential != minted.Label() {
		t.Errorf("recorded %+v", events)
	}
}

func TestEventsCarryTheIDOfTheirRequest(t *testing.T) {
	h := newTestHandler(t)
	log := new(trail)
	h.audit = log
	r, repl := request("POST", testIssuer+"/mcp", http.Header{"Authorization": {"Bearer guess"}})
	serve(t, h, r)
	want, _ := repl.GetString("http.request.uuid")
	if len(log.ids) != 1 || want == "" || log.ids[0] != want {
		t.Errorf("ids %v, want %q", log.ids, want)
	}
	if id := requestID(t.Context()); id != "" {
		t.Errorf("without a request: %q", id)
	}
	ctx := context.WithValue(t.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	if id := requestID(ctx); id != "" {
		t.Errorf("without a server: %q", id)
	}
}

// Interface guards
var _ audit.Recorder = (*trail)(nil)
