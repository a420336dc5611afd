package pages

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func TestCredentialsPage(t *testing.T) {
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	since := time.Date(2027, 1, 5, 23, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name   string
		server CredentialServer
		wrong  string
		want   []string
		not    []string
	}{
		{"nothing stored", CredentialServer{ID: "/github", Name: "GitHub tools", Hint: "Create one at https://github.com/settings/tokens, with scope repo."}, "",
			[]string{"Nothing stored", `type="password"`, `value="store"`, ">Store<", `<a href="https://github.com/settings/tokens" rel="noopener noreferrer"`, ">https://github.com/settings/tokens,</a>"},
			[]string{`value="remove"`, `value="connect"`, "autofocus", "Last used"}},
		{"stored", CredentialServer{ID: "/github", Stored: true, Since: since, Used: now.Add(-3 * time.Hour)}, "",
			[]string{">5 Jan 2027</time>", ">3 hours ago</time>", ">Replace<", `value="remove"`}, []string{"Nothing stored"}},
		{"refused", CredentialServer{ID: "/github", Wrong: true}, "That is no token.",
			[]string{"<title>Error: Your credentials", `role="alert"`, "That is no token.", `aria-invalid="true"`, `aria-describedby="server-0-name error"`}, nil},
		{"another was refused", CredentialServer{ID: "/github"}, "That is no token.", nil, []string{`aria-invalid`}},
		{"not connected", CredentialServer{ID: "/linear", Connects: true}, "",
			[]string{"Not connected", `value="connect"`}, []string{`type="password"`, `value="disconnect"`}},
		{"connected", CredentialServer{ID: "/linear", Connects: true, Stored: true, Since: since}, "",
			[]string{">Connected<", ">5 Jan 2027</time>", `value="disconnect"`, "Connect another account"}, []string{`value="remove"`, "Last used"}},
		{"ended", CredentialServer{ID: "/linear", Connects: true, Stored: true, Ended: true}, "",
			[]string{">Ended<", "Connect again", `value="disconnect"`}, nil},
		{"a hint that is no web address", CredentialServer{ID: "/x", Hint: "javascript:alert(1) http: https://a.example/\\b"}, "", []string{"javascript:alert(1)"}, []string{`<a href="javascript`, `rel="noopener`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := get(func(w http.ResponseWriter, r *http.Request) {
				WriteCredentials(w, r, http.StatusOK, Credentials{
					Action: "/my/credentials", HomeLink: "/my", TokensLink: "/my/tokens", Ticket: "mcpuc_x", Account: "ann@example.com",
					Error: tc.wrong, Servers: []CredentialServer{tc.server}, Now: now,
				})
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
				if fields["ticket"] != "mcpuc_x" || fields["id"] != tc.server.ID || attr(form, "action") != "/my/credentials" || attr(form, "method") != "post" {
					t.Errorf("a form posts %v to %s", fields, attr(form, "action"))
				}
			}
		})
	}
}

func TestCredentialsPageWithoutServers(t *testing.T) {
	w := get(func(w http.ResponseWriter, r *http.Request) { WriteCredentials(w, r, http.StatusOK, Credentials{}) })
	body := w.Body.String()
	if !strings.Contains(body, "No server that you may use") || strings.Contains(body, "<form") {
		t.Errorf("the page is\n%s", body)
	}
}

func TestTheTabsLeadToWhatThereIs(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write func(http.ResponseWriter, *http.Request)
		tabs  []string // the current one with a star
	}{
		{"home", func(w http.ResponseWriter, r *http.Request) {
			WritePortal(w, r, http.StatusOK, Portal{Action: "/my", TokensLink: "/my/tokens", CredentialsLink: "/my/credentials"})
		}, []string{"/my*", "/my/tokens", "/my/credentials"}},
		{"home without credentials", func(w http.ResponseWriter, r *http.Request) {
			WritePortal(w, r, http.StatusOK, Portal{Action: "/my", TokensLink: "/my/tokens"})
		}, []string{"/my*", "/my/tokens"}},
		{"tokens", func(w http.ResponseWriter, r *http.Request) {
			WriteTokens(w, r, http.StatusOK, Tokens{Action: "/my/tokens", HomeLink: "/my", CredentialsLink: "/my/credentials"})
		}, []string{"/my", "/my/tokens*", "/my/credentials"}},
		{"credentials", func(w http.ResponseWriter, r *http.Request) {
			WriteCredentials(w, r, http.StatusOK, Credentials{Action: "/my/credentials", HomeLink: "/my", TokensLink: "/my/tokens"})
		}, []string{"/my", "/my/tokens", "/my/credentials*"}},
	} {
		var tabs []string
		for _, nav := range elements(parse(t, get(tc.write)), named("nav")) {
			for n := range nav.Descendants() {
				if n.Type == html.ElementNode && n.Data == "a" {
					tab := attr(n, "href")
					if attr(n, "aria-current") == "page" {
						tab += "*"
					}
					tabs = append(tabs, tab)
				}
			}
		}
		if !slices.Equal(tabs, tc.tabs) {
			t.Errorf("%s: %q, want %q", tc.name, tabs, tc.tabs)
		}
	}
}
