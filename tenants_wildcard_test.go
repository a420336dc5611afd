package mcpauth

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// One block may serve every label below a domain. Which tenant a request is for is what the
// certificate was chosen by, and no header's choice.
func TestAWildcardSiteIsOneTenantPerName(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/mcp"}})
	h.fixed = nil
	for _, tc := range []struct {
		name, serverName, host string
		header                 http.Header
		issuer                 string // empty: refused with 421
	}{
		{"one label", "a.mcp.example.com", "a.mcp.example.com", nil, "https://a.mcp.example.com"},
		{"another label", "b.mcp.example.com", "b.mcp.example.com", nil, "https://b.mcp.example.com"},
		{"another spelling", "a.mcp.example.com", "A.MCP.example.com", nil, "https://a.mcp.example.com"},
		{"a port", "a.mcp.example.com", "a.mcp.example.com:8443", nil, "https://a.mcp.example.com:8443"},
		{"a proxy's word", "a.mcp.example.com", "a.mcp.example.com", http.Header{"X-Forwarded-Host": {"b.mcp.example.com"}}, "https://a.mcp.example.com"},
		{"another tenant over this one's connection", "a.mcp.example.com", "b.mcp.example.com", nil, ""},
		{"a connection that named nobody", "", "a.mcp.example.com", nil, ""},
		{"a name with a dot at its end", "a.mcp.example.com", "a.mcp.example.com.", nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, _ := request("GET", "https://"+tc.host+"/.well-known/oauth-authorization-server", tc.header)
			r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: tc.serverName}
			w := httptest.NewRecorder()
			err := h.ServeHTTP(w, r, new(upstream))
			var refused caddyhttp.HandlerError
			if tc.issuer == "" {
				if !errors.As(err, &refused) || refused.StatusCode != http.StatusMisdirectedRequest {
					t.Errorf("status %d, %v, want 421", w.Code, err)
				}
				return
			}
			var document struct {
				Issuer string `json:"issuer"`
				Token  string `json:"token_endpoint"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil || document.Issuer != tc.issuer || document.Token != tc.issuer+"/oauth2/token" {
				t.Errorf("status %d, document %+v, %v", w.Code, document, err)
			}
		})
	}

	a, b := h.derived.sites["https://a.mcp.example.com"], h.derived.sites["https://b.mcp.example.com"]
	sealed, err := a.vault.SealJSON(sessions.BrowserSession, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.vault.OpenJSON(sessions.BrowserSession, sealed, new(string)); !errors.Is(err, sessions.ErrInvalid) {
		t.Errorf("the session of one label at another: %v", err)
	}
}
