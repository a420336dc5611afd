package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// A stream hangs on a token that the provider has issued, and that nobody but this edge can end at once.
func TestAFacadesStreamsEndWithWhatTheyWereOpenedBy(t *testing.T) {
	t.Parallel()
	w := &streamWorld{world: prepareWorld(t), raw: upstream.StartRaw(t)}
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.startAs(edge.Config{
		Site: fmt.Sprintf(`	mcp_auth {
		authorization_server %s {
			facade {
				client_id mcp-edge
				client_secret {env.FACADE_CLIENT_SECRET}
				scopes openid offline_access
			}
		}
		allow domain example.com
		resource /tools/*
	}
	handle_path /tools/raw/* {
		reverse_proxy %s
	}
`, w.idp.Issuer(), w.raw.Addr()),
		Env: map[string]string{"FACADE_CLIENT_SECRET": facadeSecret},
	})
	w.idp.AddResourceClient("mcp-edge", facadeSecret, idp.Resource{Audience: []string{w.url("/tools")}}, w.url("/oauth2/callback"))
	_, first, tokens := w.token(idp.Alice)
	_, _, others := w.token(idp.Alice)
	renewed := first.refresh(tokens.RefreshToken)
	if renewed.Status != http.StatusOK {
		t.Fatalf("refreshing: status %d %s", renewed.Status, renewed.Error)
	}
	before, after, other := w.open(nil, http.MethodGet, tokens.AccessToken), w.open(nil, http.MethodGet, renewed.AccessToken), w.open(nil, http.MethodGet, others.AccessToken)
	if a := first.revoke(renewed.AccessToken); a.Status != http.StatusOK {
		t.Fatalf("revoking an access token: status %d %s", a.Status, a.Error)
	}
	after.expectEnd(2*time.Second, true)
	select {
	case err := <-before.ended:
		t.Fatalf("the stream of the access token before ended, too: %v", err)
	default:
	}
	if a := first.revoke(renewed.RefreshToken); a.Status != http.StatusOK {
		t.Fatalf("revoking a refresh token: status %d %s", a.Status, a.Error)
	}
	before.expectEnd(2*time.Second, true)
	select {
	case err := <-other.ended:
		t.Errorf("another client's stream ended, too: %v", err)
	default:
	}
}
