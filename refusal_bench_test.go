package mcpauth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkRefusal is a flood of forged tokens: what a stranger can make the edge do.
func BenchmarkRefusal(b *testing.B) {
	h := newTestHandler(b)
	settings, err := (&GuardOptions{MaxBadTokens: given(0)}).settings()
	if err != nil {
		b.Fatal(err)
	}
	h.guarding = settings
	good := h.token(b, testIssuer, nil)
	forged := []string{"Bearer " + good[:len(good)-8] + "AAAAAAAA"}
	r, _ := request("POST", testIssuer+"/mcp", http.Header{"Content-Type": {"application/json"}})
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		clear(w.Header())
		r.Header["Authorization"] = forged
		var failed caddyhttp.HandlerError
		if err := h.ServeHTTP(w, r, next); !errors.As(err, &failed) || failed.StatusCode != http.StatusUnauthorized {
			b.Fatalf("got %v", err)
		}
	}
}
