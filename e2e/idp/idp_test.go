package idp_test

import (
	"encoding/json"
	"net"
	"net/http"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
)

func TestProviderAnswersDiscoveryAgainAfterARestart(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	p, err := idp.New(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })

	if _, err := http.Get(p.Issuer() + "/.well-known/openid-configuration"); err == nil {
		t.Fatal("the provider answered before it was started")
	}
	for range 2 {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(p.Issuer() + "/.well-known/openid-configuration")
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Issuer   string   `json:"issuer"`
			Methods  []string `json:"code_challenge_methods_supported"`
			KeysURL  string   `json:"jwks_uri"`
			Endpoint string   `json:"authorization_endpoint"`
		}
		err = json.NewDecoder(resp.Body).Decode(&doc)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if doc.Issuer != p.Issuer() || doc.KeysURL == "" || doc.Endpoint == "" || len(doc.Methods) == 0 {
			t.Fatalf("discovery says %+v", doc)
		}
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
