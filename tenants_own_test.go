package mcpauth

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// makesOne makes a token on the person's own page, with a form of its own.
func (v *visitor) makesOne() *visitor {
	v.t.Helper()
	if !v.seesOwnPage() || !v.makesToken() {
		v.t.Fatalf("%s: making a token failed", v.issuer)
	}
	return v
}

// A token that a person made at one tenant opens nothing at another, and no other can end it.
func TestATokenThatAPersonMadeIsGoodAtItsTenantOnly(t *testing.T) {
	onEachStore(t, func(t *testing.T, pair [2]*Handler) {
		for i, h := range pair {
			stranger, guest := newVisitor(t, h).reach(connected).makesOne(), newVisitor(t, pair[1-i]).reach(connected)
			if guest.personal = stranger.personal; guest.usesToken() {
				t.Errorf("the token of %s was taken by %s", stranger.issuer, guest.issuer)
			}
			if !guest.seesOwnPage() {
				t.Fatal("opening the own page failed")
			}
			guest.form("/oauth2/my", url.Values{"ticket": {guest.ownTicket}, "do": {"sign_out_everywhere"}, "apps": {"yes"}, "tokens": {"yes"}})
			if !stranger.usesToken() || !stranger.isKnown() || !stranger.calls() {
				t.Errorf("signing out everywhere at %s ended something at %s", guest.issuer, stranger.issuer)
			}
		}
	})
}

// wantsCredentials makes the resource of h one whose upstream wants a credential of each person.
func wantsCredentials(t *testing.T, h *Handler) {
	t.Helper()
	h.Resources[0].Credentials = new(Credentials)
	if err := h.Resources[0].Credentials.load(); err != nil {
		t.Fatal(err)
	}
	var err error
	if h.fixed, err = h.newSite(h.fixed.issuer); err != nil {
		t.Fatal(err)
	}
}

// seesCredentials opens the page on credentials, keeps its ticket, and reports whether it is there.
func (v *visitor) seesCredentials() bool {
	v.t.Helper()
	answer, _ := v.do("GET", ownCredentials, "", "", nil)
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	field := ticketInput.FindSubmatch(body)
	if field == nil {
		return false
	}
	v.ownTicket = string(field[1])
	return true
}

func (v *visitor) stores(secret string) bool {
	answer := v.form(ownCredentials, url.Values{"ticket": {v.ownTicket}, "id": {"/mcp"}, "do": {"store"}, "credential": {secret}})
	return answer.StatusCode == http.StatusSeeOther
}

// arrives returns the credential that a call reaches the upstream with, "" if it does not.
func (v *visitor) arrives() string {
	v.t.Helper()
	var got string
	r := httptest.NewRequest("POST", v.issuer+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
	r.TLS.HandshakeComplete = true
	r.Header.Set("Authorization", "Bearer "+v.access)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	next := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		got = r.Header.Get("Authorization") // it is gone again afterwards
		return nil
	})
	if err := v.h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), next); err != nil {
		v.t.Fatal(err)
	}
	return got
}

// The same person, at the same path, has a credential for each tenant's upstream: one is not sent to the other,
// and one tenant's page changes nothing at the other.
func TestCredentialsAreOfOneTenant(t *testing.T) {
	onEachStore(t, func(t *testing.T, pair [2]*Handler) {
		var at [2]*visitor
		for i, h := range pair {
			wantsCredentials(t, h)
			at[i] = newVisitor(t, h)
			for _, step := range []func() bool{at[i].registers, at[i].isAsked, at[i].consents, at[i].signsIn, at[i].redeems, at[i].seesCredentials} {
				if !step() {
					t.Fatal("connecting failed")
				}
			}
		}
		own := at[1].ownTicket
		if at[1].ownTicket = at[0].ownTicket; at[1].stores("planted") {
			t.Error("the form of one tenant was taken by the other")
		}
		at[1].ownTicket = own
		if !at[0].stores("secret-of-a") {
			t.Fatal("storing failed")
		}
		if a, b := at[0].arrives(), at[1].arrives(); a != "Bearer secret-of-a" || b != "" {
			t.Errorf("the upstreams get %q and %q", a, b)
		}
		if !at[1].stores("secret-of-b") {
			t.Fatal("storing failed")
		}
		at[1].form(ownCredentials, url.Values{"ticket": {own}, "id": {"/mcp"}, "do": {"remove"}})
		if a, b := at[0].arrives(), at[1].arrives(); a != "Bearer secret-of-a" || b != "" {
			t.Errorf("after removing at the other tenant the upstreams get %q and %q", a, b)
		}
	})
}

// A server that verifies who calls by one tenant's keys takes nobody's word from another.
func TestAssertionsAreSignedForOneTenant(t *testing.T) {
	onEachStore(t, func(t *testing.T, pair [2]*Handler) {
		var text, keys [2]string
		for i, h := range pair {
			h.IdentityAssertion = new(IdentityAssertion)
			var err error
			if h.fixed, err = h.newSite(h.fixed.issuer); err != nil {
				t.Fatal(err)
			}
			v := newVisitor(t, h).reach(connected)
			_, got := v.mcp(nil)
			answer, _ := v.do("GET", "/oauth2/jwks", "", "", nil)
			body, err := io.ReadAll(answer.Body)
			if err != nil || got == nil {
				t.Fatalf("calling failed, %v", err)
			}
			text[i], keys[i] = got.Header.Get("X-Mcp-Identity"), string(body)
		}
		for i := range pair {
			for j := range pair {
				var set jose.JSONWebKeySet
				if err := json.Unmarshal([]byte(keys[j]), &set); err != nil || len(set.Keys) == 0 {
					t.Fatalf("keys %s, %v", keys[j], err)
				}
				token, err := jwt.ParseSigned(text[i], []jose.SignatureAlgorithm{jose.ES256})
				if err != nil {
					t.Fatal(err)
				}
				verified := false
				for _, key := range set.Keys {
					verified = verified || token.Claims(key, new(jwt.Claims)) == nil
				}
				if verified != (i == j) {
					t.Errorf("an assertion of tenant %d verified by the keys of %d: %t", i, j, verified)
				}
			}
		}
	})
}
