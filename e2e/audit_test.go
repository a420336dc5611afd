package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// auditLogs routes the decisions to a file of their own, as the documentation says.
const (
	auditLogs = "log audit {\n\t\toutput file {$HOME}/audit.log\n\t\tinclude mcp_auth.audit\n\t}"
	auditLess = "exclude mcp_auth.audit"
)

// decision is a line of the audit log.
type decision struct {
	Logger     string `json:"logger"`
	Type       string `json:"msg"`
	Level      string `json:"level"`
	Outcome    string `json:"outcome"`
	Reason     string `json:"reason"`
	By         string `json:"by"`
	UserID     string `json:"user_id"`
	Email      string `json:"email"`
	ClientID   string `json:"client_id"`
	Resource   string `json:"resource"`
	Provider   string `json:"provider"`
	Grant      string `json:"grant"`
	Credential string `json:"credential"`
	ClientIP   string `json:"client_ip"`
	RequestID  string `json:"request_id"`
}

func (w *world) auditFile() string {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join(w.edge.Dir(), "audit.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(content)
}

// decisions reads the audit log.
func (w *world) decisions() []decision {
	w.t.Helper()
	var all []decision
	for line := range strings.Lines(w.auditFile()) {
		var d decision
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			w.t.Fatalf("a line of the audit log: %v: %s", err, line)
		}
		all = append(all, d)
	}
	return all
}

// newAuditedWorld has a service token, and an audit log in a file of its own.
func newAuditedWorld(t *testing.T) *world {
	t.Helper()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.startAs(edge.Config{
		Site: w.oidcSite(tokenOption, replaceOnce(t, nightly, nightlySecret, "{env.NIGHTLY_SECRET}"),
			"introspection_client mcp-server {\nsecret {env.ASKING_SECRET}\nresource /mcp\n}"),
		Env: map[string]string{"CI_TOKEN": ciToken, "NIGHTLY_SECRET": nightlySecret, "ASKING_SECRET": upstreamSecret}, Log: auditLess, Logs: auditLogs,
	})
	return w
}

// ownPage opens a page of the person, who signs in on the way.
func (w *world) ownPage(p *person, below string) *browser.Page {
	w.t.Helper()
	page, err := p.Open(w.ctx, w.url("/oauth2/my"+below))
	if err == nil {
		if f, ok := page.FormWith("oidc"); ok {
			p.seen = append(p.seen, page)
			if page, err = p.Submit(w.ctx, f, "oidc", nil); err == nil {
				_, err = p.walk(w.ctx, page, nil) // ends at the page itself, wherever it began
			}
			if err == nil {
				page, err = p.Open(w.ctx, w.url("/oauth2/my"+below))
			}
		}
	}
	if err != nil || page.Status != http.StatusOK {
		w.t.Fatalf("%v, at %v", err, page)
	}
	return page
}

// pressed submits the form with a button of that value, with more fields than it shows.
func (w *world) pressed(p *person, page *browser.Page, button string, more url.Values) *browser.Page {
	w.t.Helper()
	f, ok := page.FormWith(button)
	if !ok {
		w.t.Fatalf("no button %q at %s: %s", button, page.URL, page.Text)
	}
	fields := url.Values{"do": {button}}
	for _, values := range []url.Values{f.Fields, more} {
		for name, v := range values {
			fields[name] = v
		}
	}
	page, err := p.Send(w.ctx, page, f.Action.String(), fields)
	if err != nil {
		w.t.Fatal(err)
	}
	p.seen = append(p.seen, page)
	return page
}

// makeToken makes a token on the person's page and returns it.
func (w *world) makeToken(p *person, path string) string {
	w.t.Helper()
	page := w.pressed(p, w.ownPage(p, "/tokens"), "make_token", url.Values{
		"name": {"nightly report"}, "resource": {w.url(path)}, "scope": {"tools:read"}, "days": {"30"},
	})
	at := strings.Index(page.Text, "mcput_")
	if at < 0 {
		w.t.Fatalf("no token at %s: %s", page.URL, page.Text)
	}
	return strings.Fields(page.Text[at:])[0]
}

func TestDecisionsGoToALogOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newAuditedWorld(t)
	alice := newPerson(idp.Alice)
	c := w.newOAuthClient(upstream.StreamablePath)
	code := c.code(alice, c.open(alice))
	tokens := c.tokens(code)
	renewed := c.refresh(tokens.RefreshToken)
	c.form("/oauth2/token", c.tokenParams(code))
	c.revoke(renewed.RefreshToken)
	w.newOAuthClient(upstream.StreamablePath).form("/oauth2/token", url.Values{"client_id": {"stranger"}, "grant_type": {"refresh_token"}})
	other := w.newOAuthClient(upstream.StreamablePath)
	other.signIn(alice)
	if page := w.pressed(alice, w.ownPage(alice, ""), "disconnect_all", nil); !strings.Contains(page.Text, "All applications are disconnected") {
		t.Fatalf("disconnecting: %s", page.Text)
	}
	token := w.makeToken(alice, upstream.StreamablePath)
	for range 3 {
		for _, bearer := range []string{token, ciToken} {
			if a := c.mcp(upstream.StreamablePath, bearer); a.Status != http.StatusOK {
				t.Fatalf("a call was answered with %d", a.Status)
			}
		}
		c.mcp(upstream.StatelessPath, "a-guess")
	}
	w.pressed(alice, w.ownPage(alice, "/tokens"), "revoke_token", nil)
	w.pressed(alice, w.ownPage(alice, ""), "sign_out_everywhere", nil)
	refused := newPerson(idp.Mallory)
	if _, err := refused.walk(w.ctx, c.open(refused), nil); err != nil {
		t.Fatal(err)
	}
	declining := newPerson(idp.Alice)
	declining.decision = "deny"
	if _, err := declining.walk(w.ctx, c.open(declining), nil); err != nil {
		t.Fatal(err)
	}
	w.edge.Stop()

	all := w.decisions()
	for _, d := range all {
		if d.Logger != "mcp_auth.audit" || d.ClientIP != "127.0.0.1" || d.RequestID == "" ||
			(d.Outcome != "allowed" || d.Level != "info") && (d.Outcome != "refused" || d.Level != "warn" || d.Reason == "") {
			t.Errorf("an incomplete decision: %+v", d)
		}
	}
	resource := w.url(upstream.StreamablePath)
	for what, want := range map[string]struct {
		times int
		of    func(decision) bool
	}{
		"a registration":            {3, func(d decision) bool { return d.Type == "client_registration" && d.ClientID != "" }},
		"consent":                   {3, func(d decision) bool { return d.Type == "consent" && d.Outcome == "allowed" && d.Resource == resource }},
		"a consent that was denied": {1, func(d decision) bool { return d.Type == "consent" && d.Outcome == "refused" }},
		"a sign-in": {1, func(d decision) bool {
			return d.Type == "sign_in" && d.Outcome == "allowed" && d.UserID == idp.Alice.Subject && d.Provider == "oidc"
		}},
		"somebody turned away": {1, func(d decision) bool {
			return d.Type == "sign_in" && d.Outcome == "refused" && d.UserID == idp.Mallory.Subject
		}},
		"the issue of a token":       {2, func(d decision) bool { return d.Type == "token_issued" && d.Outcome == "allowed" && d.Grant != "" }},
		"a refresh":                  {1, func(d decision) bool { return d.Type == "token_refreshed" && d.Outcome == "allowed" }},
		"the replay of a code":       {1, func(d decision) bool { return d.Type == "code_replayed" && d.UserID == idp.Alice.Subject }},
		"a client that is nobody":    {1, func(d decision) bool { return d.Type == "client_authentication" && d.Outcome == "refused" }},
		"a revocation by the person": {1, func(d decision) bool { return d.Type == "revocation" && d.By == "person" && d.Grant != "" }},
		"a token being made": {1, func(d decision) bool {
			return d.Type == "credential_changed" && d.Reason == "token made" && strings.HasPrefix(d.Credential, "put-")
		}},
		"its end": {1, func(d decision) bool {
			return d.Type == "credential_changed" && d.Reason == "token revoked" && d.By == "person"
		}},
		"the use of it":              {1, func(d decision) bool { return d.Type == "token_used" && d.UserID == idp.Alice.Subject }},
		"the use of a service token": {1, func(d decision) bool { return d.Type == "token_used" && d.Credential == "ci" && d.UserID == "token:ci" }},
		"a guess": {1, func(d decision) bool {
			return d.Type == "access_denied" && d.Reason == "invalid_token" && d.Resource == w.url(upstream.StatelessPath)
		}},
		"signing out": {1, func(d decision) bool { return d.Type == "sign_out" && d.By == "person" }},
	} {
		if n := len(slices.DeleteFunc(slices.Clone(all), func(d decision) bool { return !want.of(d) })); n != want.times {
			t.Errorf("%s: %d times, want %d", what, n, want.times)
		}
	}
	if lines := w.edge.Logs().LinesWith("mcp_auth.audit"); len(lines) > 0 {
		t.Errorf("the default log has decisions too: %s", lines[0])
	}
	if t.Failed() {
		t.Logf("the audit log:\n%s", w.auditFile())
	}
}
