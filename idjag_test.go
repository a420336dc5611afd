package mcpauth

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func TestWhoseAssertionsAreAccepted(t *testing.T) {
	oidc, err := identity.NewOIDC(identity.OIDCConfig{ID: "oidc", Issuer: "https://idp.example.com", ClientID: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	local, err := identity.NewLocal("local", "this server", "local", []identity.LocalUser{
		{Email: "alice@example.com", Hash: "$2a$04$O9HJpFTcqDZYbZ8jQ0yfDuyyGJnWKnMVKCBfzvXs2ncrFZoo1TRXq"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name       string
		configured []string
		says       string
	}{
		{"nobody's", nil, ""},
		{"a provider's", []string{"https://idp.example.com"}, ""},
		{"a provider's that is written with a slash", []string{"https://idp.example.com/"}, "write the issuer of an oidc provider exactly"},
		{"somebody's where nobody signs in", []string{"https://evil.example"}, `add "oidc https://evil.example`},
		{"those of passwords", []string{"local"}, "people do not sign in there"},
		{"the same provider's twice", []string{"https://idp.example.com", "https://idp.example.com"}, "join the two blocks"},
		{"this site's", []string{testIssuer}, "is this site itself"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var configured []*IDJAG
			for _, issuer := range tc.configured {
				configured = append(configured, &IDJAG{Issuer: issuer, Clients: map[string]string{"there": "here"}})
			}
			got, err := idJAGIssuers(testIssuer, configured, []identity.Provider{local, oidc})
			if (err != nil) != (tc.says != "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%v, want %q", err, tc.says)
			}
			if err == nil && !slices.Equal(slices.Collect(maps.Keys(got)), tc.configured) {
				t.Errorf("got %v", got)
			}
		})
	}
}
