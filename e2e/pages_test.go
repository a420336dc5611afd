package e2e

import (
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
)

// wantReadablePage asserts that a person was shown a page of ours, protected as pages are, and not
// sent anywhere.
func wantReadablePage(t *testing.T, p *browser.Page, status int) {
	t.Helper()
	if p.Landed {
		t.Fatalf("the browser was redirected to %s", p.URL)
	}
	if p.Status != status {
		t.Errorf("%s: status %d, want %d: %s", p.URL.Path, p.Status, status, p.Text)
	}
	h := p.Header
	if ct := h.Get("Content-Type"); !strings.HasPrefix(ct, "text/html") {
		t.Errorf("%s: Content-Type %q, want HTML", p.URL.Path, ct)
	}
	if len(p.Text) < 20 || !strings.Contains(p.Body, "<h1") {
		t.Errorf("%s: not readable: %q", p.URL.Path, p.Body)
	}
	if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("%s: Content-Security-Policy %q", p.URL.Path, csp)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
	} {
		if !strings.Contains(h.Get(name), want) {
			t.Errorf("%s: %s is %q, want %s", p.URL.Path, name, h.Get(name), want)
		}
	}
	for _, inside := range []string{"goroutine", ".go:", "panic", "<script"} {
		if strings.Contains(p.Body, inside) {
			t.Errorf("%s: the page contains %q", p.URL.Path, inside)
		}
	}
}
