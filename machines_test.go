package mcpauth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const machineSecret = "4f1c1d0b8f3a49d1b7f1c3f4f0a1e2d3"

// configure gives the handler known clients and makes its site anew, as a reload would.
func (h *Handler) configure(t *testing.T, known ...*Client) error {
	t.Helper()
	settings, err := resolveClients(nil, known)
	if err != nil {
		t.Fatal(err)
	}
	settings.shared = h.clients.shared
	h.clients = settings
	s, err := h.newSite(testIssuer)
	if err == nil {
		h.fixed = s
	}
	return err
}

func TestAMachineIsAdmittedByItsEntry(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github/*"}}, &Resource{Paths: []string{"/linear/*"}})
	nightly := &Client{ID: "nightly", Secret: machineSecret, GrantTypes: []string{"client_credentials"}, Resources: []string{"/github/*"}}
	if err := h.configure(t, nightly); err != nil {
		t.Fatal(err)
	}
	status := func(resource string, change func(*sessions.Access)) int {
		t.Helper()
		token := h.token(t, testIssuer+resource, func(a *sessions.Access) {
			a.UserIssuer, a.Subject, a.Email, a.Groups, a.ClientID = testIssuer, "client:nightly", "", "", "nightly"
			if change != nil {
				change(a)
			}
		})
		r, _ := request(http.MethodPost, testIssuer+resource+"/x", http.Header{"Authorization": {"Bearer " + token}})
		got, _, passed := serve(t, h, r)
		if (got == http.StatusNoContent) != (passed != nil) {
			t.Errorf("status %d, reached the upstream: %v", got, passed != nil)
		}
		return got
	}
	everybody, err := access.NewPolicy([]access.Rule{{Kind: access.Any}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, resource string
		before         func()
		change         func(*sessions.Access)
		want           int
	}{
		{"at its resource", "/github", nil, nil, http.StatusNoContent},
		{"at another resource", "/linear", nil, nil, http.StatusForbidden},
		{"as a client that is not configured", "/github", nil, func(a *sessions.Access) { a.ClientID = "other" }, http.StatusForbidden},
		{"with an address on the allow-list", "/linear", nil, func(a *sessions.Access) { a.Email = "alice@example.com" }, http.StatusForbidden},
		{"at another resource that is open to everybody", "/linear", func() { h.fixed.policy = everybody }, nil, http.StatusForbidden},
		{"after its entry lost the grant type", "/github", func() {
			if err := h.configure(t, &Client{ID: "nightly", RedirectURIs: []string{"https://a.example/cb"}}); err != nil {
				t.Fatal(err)
			}
		}, nil, http.StatusForbidden},
		{"after its entry is gone", "/github", func() {
			if err := h.configure(t); err != nil {
				t.Fatal(err)
			}
			h.fixed.policy = everybody
		}, nil, http.StatusForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.before != nil {
				tc.before()
			}
			if got := status(tc.resource, tc.change); got != tc.want {
				t.Errorf("status %d, want %d", got, tc.want)
			}
		})
	}
}

func TestWhereMachinesMayAct(t *testing.T) {
	entry := func(resources ...string) *Client {
		return &Client{ID: "nightly", Secret: machineSecret, GrantTypes: []string{clients.GrantClientCredentials}, Resources: resources}
	}
	two := []*Resource{{Paths: []string{"/github/*", "/hooks"}}, {Paths: []string{"/linear"}}}
	for _, tc := range []struct {
		name      string
		resources []*Resource
		client    *Client
		shared    bool
		want      []string
		says      string
	}{
		{"the only resource without saying so", nil, entry(), false, []string{testIssuer}, ""},
		{"one of two", two, entry("/github/*"), false, []string{testIssuer + "/github"}, ""},
		{"one of two, written as its identifier", two, entry("/github"), false, []string{testIssuer + "/github"}, ""},
		{"both", two, entry("/linear", "/github"), false, []string{testIssuer + "/linear", testIssuer + "/github"}, ""},
		{"nothing said where there are two", two, entry(), false, nil, "resource <path...>"},
		{"a resource that is none", two, entry("/gitlab"), false, nil, "/gitlab is no resource"},
		{"a path below a resource", two, entry("/github/x"), false, nil, "no resource"},
		{"a resource that another site has", two, entry("/gitlab", "/linear"), true, []string{testIssuer + "/linear"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newTestHandler(t, tc.resources...)
			h.clients.shared = tc.shared
			err := h.configure(t, tc.client)
			if (err != nil) != (tc.says != "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%v, want %q", err, tc.says)
			}
			if err == nil && strings.Join(h.fixed.machines["nightly"], " ") != strings.Join(tc.want, " ") {
				t.Errorf("it may act at %v, want %v", h.fixed.machines["nightly"], tc.want)
			}
		})
	}
}
