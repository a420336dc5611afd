package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestOverTLSEveryCookieIsTiedToTheHost(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.startAs(edge.Config{Site: w.oidcSite(), TLS: true})
	transport := &recordCookies{next: w.edge.Transport()}
	alice := newPerson(idp.Alice)
	alice.SetTransport(transport)
	client := w.mustConnect(upstream.StreamablePath, alice, mcpclient.Options{HTTP: &http.Client{Transport: w.edge.Transport()}})
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject {
		t.Fatalf("whoami answered %+v, %v", who, err)
	}
	if len(transport.set) < 3 {
		t.Errorf("only %d cookies were set", len(transport.set))
	}
	for _, c := range transport.set {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("cookie %s: %s", c.Name, strings.ReplaceAll(c.String(), c.Value, "..."))
		}
	}
	if !transport.http2 {
		t.Error("no request went over HTTP/2")
	}
}

// recordCookies remembers every cookie that an answer sets.
type recordCookies struct {
	next  http.RoundTripper
	set   []*http.Cookie
	http2 bool
}

func (r *recordCookies) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err == nil {
		r.set = append(r.set, resp.Cookies()...)
		r.http2 = r.http2 || resp.ProtoMajor == 2
	}
	return resp, err
}
