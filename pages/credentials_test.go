package pages

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func TestCredentialsPage(t *testing.T) {
	since := time.Date(2027, 1, 5, 23, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name   string
		server CredentialServer
		want   []string
		not    []string
	}{
		{"nothing stored", CredentialServer{ID: "/github", Name: "GitHub tools", Hint: "Create one at https://github.com/settings/tokens, with scope repo."},
			[]string{"Nothing stored", `type="password"`, `value="store"`, "Store", `<a href="https://github.com/settings/tokens" rel="noopener noreferrer"`, ">https://github.com/settings/tokens,</a>"},
			[]string{`value="remove"`, `value="connect"`, "autofocus"}},
		{"stored", CredentialServer{ID: "/github", Stored: true, Since: since, Used: since.AddDate(0, 1, 0)},
			[]string{"since 5 January 2027, last used 5 February 2027", "Replace", `value="remove"`}, []string{"Nothing stored"}},
		{"refused", CredentialServer{ID: "/github", Error: "That is no token."},
			[]string{"<title>Error: Your credentials", `role="alert"`, "That is no token.", `aria-invalid="true"`, "server-1-error"}, nil},
		{"not connected", CredentialServer{ID: "/linear", Connects: true},
			[]string{"Not connected", `value="connect"`}, []string{`type="password"`, `value="disconnect"`}},
		{"connected", CredentialServer{ID: "/linear", Connects: true, Stored: true, Since: since},
			[]string{"Connected", "since 5 January 2027", `value="disconnect"`, "Connect another account"}, []string{`value="remove"`, "last used"}},
		{"ended", CredentialServer{ID: "/linear", Connects: true, Stored: true, Ended: true},
			[]string{"Ended", "Connect again", `value="disconnect"`}, nil},
		{"a hint that is no web address", CredentialServer{ID: "/x", Hint: "javascript:alert(1) http: https://a.example/\\b"}, []string{"javascript:alert(1)"}, []string{"<a href"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := get(func(w http.ResponseWriter, r *http.Request) {
				WriteCredentials(w, r, http.StatusOK, Credentials{Action: "/my/credentials", Ticket: "mcpuc_x", Account: "ann@example.com", Servers: []CredentialServer{tc.server}})
			})
			body := w.Body.String()
			for _, want := range tc.want {
				if !strings.Contains(body, want) {
					t.Errorf("the page lacks %s\n%s", want, body)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(body, not) {
					t.Errorf("the page has %s\n%s", not, body)
				}
			}
			doc := parse(t, w)
			for _, form := range elements(doc, named("form")) {
				fields := make(map[string]string)
				for n := range form.Descendants() {
					if n.Type == html.ElementNode && n.Data == "input" {
						fields[attr(n, "name")] = attr(n, "value")
					}
				}
				if fields["ticket"] != "mcpuc_x" || fields["server"] != tc.server.ID || attr(form, "action") != "/my/credentials" || attr(form, "method") != "post" {
					t.Errorf("a form posts %v to %s", fields, attr(form, "action"))
				}
			}
		})
	}
}

func TestCredentialsPageWithoutServers(t *testing.T) {
	w := get(func(w http.ResponseWriter, r *http.Request) { WriteCredentials(w, r, http.StatusOK, Credentials{}) })
	if body := w.Body.String(); !strings.Contains(body, "No server that you may use") || strings.Contains(body, "<form") {
		t.Errorf("the page is\n%s", body)
	}
}
