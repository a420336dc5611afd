package pages

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func consentDoc(t testing.TB, v Consent) *html.Node {
	t.Helper()
	return parse(t, get(func(w http.ResponseWriter, r *http.Request) { WriteConsent(w, r, v) }))
}

// friendly is a consent as it is meant to be: a metadata document, an https redirect, not signed in.
func friendly() Consent {
	return Consent{
		Action: "/oauth2/consent", Ticket: "mcpct_abc", SiteName: "mcp.example.com",
		ClientName: "Claude", ClientHost: "claude.ai", RedirectHost: "callback.claude.ai",
		ResourceName: "GitHub tools", Resource: "https://mcp.example.com/github",
		Scopes:        []Scope{{Name: "github:read", Description: "Read issues"}, {Name: "github:write"}},
		ProviderNames: []string{"Google", "GitHub"},
	}
}

func TestConsentSaysWhatIsAsked(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Consent)
		says   []string
		not    []string
	}{
		{
			"a client with a metadata document", func(*Consent) {},
			[]string{
				"“Claude” wants to use “GitHub tools”", "Published by claude.ai", "callback.claude.ai",
				"https://mcp.example.com/github", "Read issues", "github:read", "github:write",
				"You will sign in next with Google or GitHub", "choose Deny",
			},
			[]string{"Unverified", "Only continue if", "Stay signed in", "Use another account"},
		},
		{
			"a client that registered itself", func(v *Consent) { v.ClientHost = "" },
			[]string{"Unverified", "It registered itself", "Nobody has checked its name"},
			[]string{"Published by", "Verified host", "Known"},
		},
		{
			"a host that vanishes when it is cleaned verifies nothing", func(v *Consent) { v.ClientHost = "\u200b" },
			[]string{"Unverified"}, []string{"Published by"},
		},
		{
			"a client that the operator set up", func(v *Consent) { v.ClientHost, v.Preregistered = "", true },
			[]string{"Set up by the people who run this site"}, []string{"Unverified", "Published by"},
		},
		{
			"a program on this device",
			func(v *Consent) { v.RedirectHost, v.RedirectKind = "this computer (localhost:33418)", RedirectLoopback },
			[]string{"this computer (localhost:33418)", "Only continue if you just started this on this device.", "any program could use this name"},
			[]string{"choose Deny"},
		},
		{
			"an app on this device",
			func(v *Consent) { v.RedirectHost, v.RedirectKind = "cursor://", RedirectPrivateScheme },
			[]string{"cursor://", "Only continue if you just started this on this device.", "any app could use this name"}, nil,
		},
		{
			"a kind of redirect from a later version", func(v *Consent) { v.RedirectKind = 99 },
			[]string{"Only continue if you just started this on this device."}, nil,
		},
		{
			"no scopes", func(v *Consent) { v.Scopes = nil },
			[]string{"Use the tools of “GitHub tools” as you"}, nil,
		},
		{
			"scopes that show nothing", func(v *Consent) { v.Scopes = []Scope{{Name: "\u200b", Description: "\u202e"}} },
			[]string{"Use the tools of “GitHub tools” as you"}, nil,
		},
		{
			"a scope that includes others",
			func(v *Consent) {
				v.Scopes = []Scope{{Name: "admin", Includes: []string{"read", "\u200b", "write\u202e"}}}
			},
			[]string{"admin", "includes read, write"}, nil,
		},
		{
			"offline access", func(v *Consent) { v.OfflineAccess = true },
			[]string{"Stay signed in without asking you again"}, nil,
		},
		{
			"somebody is signed in", func(v *Consent) { v.Account, v.SwitchAction = "ada@example.com", "/oauth2/consent" },
			[]string{"ada@example.com", "Use another account"}, []string{"You will sign in next"},
		},
		{
			"a resource without a name", func(v *Consent) { v.ResourceName = "" },
			[]string{"“Claude” wants to use https://mcp.example.com/github"}, []string{"“”"},
		},
		{
			"nothing at all", func(v *Consent) { *v = Consent{} },
			[]string{"An application wants to use this server", "Unverified", "an unknown address", "You will sign in next"},
			[]string{"“”"},
		},
		{
			"a name that claims to be checked", func(v *Consent) { v.ClientHost, v.ClientName = "", "Claude” is verified. “Really" },
			[]string{"“Claude' is verified. 'Really” wants"}, nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := friendly()
			tc.change(&v)
			got := text(elements(consentDoc(t, v), named("main"))[0])
			for _, s := range tc.says {
				if !strings.Contains(got, s) {
					t.Errorf("the page does not say %q: %s", s, got)
				}
			}
			for _, s := range tc.not {
				if strings.Contains(got, s) {
					t.Errorf("the page says %q: %s", s, got)
				}
			}
		})
	}
}

func TestConsentFormsCarryOnlyTheTicket(t *testing.T) {
	v := friendly()
	v.SwitchAction = "/oauth2/switch"
	forms := elements(consentDoc(t, v), named("form"))
	if len(forms) != 2 {
		t.Fatalf("%d forms", len(forms))
	}
	for i, want := range []struct {
		action    string
		decisions []string
	}{
		{"/oauth2/switch", []string{"switch"}},
		// Deny comes first on the way of the Tab key; nobody lands on Allow by pressing it once.
		{"/oauth2/consent", []string{"deny", "allow"}},
	} {
		if got := attr(forms[i], "action"); got != want.action {
			t.Errorf("form %d posts to %q, want %q", i, got, want.action)
		}
		inputs := elements(forms[i], named("input"))
		if len(inputs) != 1 || attr(inputs[0], "name") != "ticket" || attr(inputs[0], "value") != "mcpct_abc" ||
			attr(inputs[0], "type") != "hidden" {
			t.Errorf("form %d has other fields than the ticket", i)
		}
		var decisions []string
		for _, b := range elements(forms[i], named("button")) {
			if attr(b, "name") != "decision" {
				t.Errorf("button %q posts %q", text(b), attr(b, "name"))
			}
			decisions = append(decisions, attr(b, "value"))
		}
		if !slices.Equal(decisions, want.decisions) {
			t.Errorf("form %d decides %v, want %v", i, decisions, want.decisions)
		}
	}
}

func TestAllowIsDescribedByTheWarning(t *testing.T) {
	for _, kind := range []RedirectKind{RedirectHTTPS, RedirectLoopback, RedirectPrivateScheme} {
		v := friendly()
		v.RedirectKind = kind
		doc := consentDoc(t, v)
		allow := elements(doc, func(n *html.Node) bool { return attr(n, "value") == "allow" })
		if len(allow) != 1 || !slices.Contains(strings.Fields(attr(allow[0], "aria-describedby")), "caution") {
			t.Fatalf("kind %d: Allow is not described by the caution", kind)
		}
		if caution := elements(doc, func(n *html.Node) bool { return attr(n, "id") == "caution" }); len(caution) != 1 {
			t.Errorf("kind %d: %d cautions", kind, len(caution))
		}
	}
}

func TestAddressesAreNotLinks(t *testing.T) {
	v := filled[Consent]("https://claude.ai/")
	if links := elements(consentDoc(t, v), named("a")); len(links) != 0 {
		t.Errorf("%d links", len(links))
	}
}

func TestReorderingCharactersNeverReachThePage(t *testing.T) {
	const reordering = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200c\u200d\u2060\ufeff"
	w := httptest.NewRecorder()
	v := filled[Consent]("a" + reordering + "b")
	v.Action, v.Ticket, v.SwitchAction = "/", "t", "/"
	WriteConsent(w, httptest.NewRequest(http.MethodGet, "/", nil), v)
	if i := strings.IndexAny(w.Body.String(), reordering); i >= 0 {
		t.Errorf("%q", w.Body.String()[i:])
	}
}

func FuzzWriteConsent(f *testing.F) {
	f.Add("Claude", "claude.ai", "claude.ai", "Tools", "https://a.example/x", "read", "Read it", "ada@a.example", "a.example", "/c", "t", 0)
	f.Add("\u202e<b>", "\"'><!--", "</p><svg>", "", "javascript:x", "\x00", "&lt;", "", "</title>", "javascript:x", "\"", 1)
	f.Add("", "\u3164", "сlaude.ai", "{{.}}", "//x", "", "\xff", "]]>", "", "", "", 2)
	f.Fuzz(func(t *testing.T, name, client, redirect, resourceName, resource, scope, description, account, site, action, ticket string, kind int) {
		v := Consent{
			Action: action, Ticket: ticket, SwitchAction: action,
			ClientName: name, ClientHost: client, RedirectHost: redirect, RedirectKind: RedirectKind(kind),
			ResourceName: resourceName, Resource: resource, Scopes: []Scope{{Name: scope, Description: description, Includes: []string{scope}}},
			Account: account, SiteName: site, ProviderNames: []string{name}, OfflineAccess: true,
		}
		doc := consentDoc(t, v)
		if got, want := skeleton(doc), skeleton(consentDoc(t, benign(v))); got != want {
			t.Errorf("the document is\n%s\nwant\n%s", got, want)
		}
		checkInert(t, doc)
		for _, n := range elements(doc, named("input")) {
			// html.Parse reads as browsers do: without NUL, with LF only, and with valid UTF-8.
			if plain := strings.IndexFunc(ticket, func(r rune) bool { return r < ' ' || r > '~' }) < 0; plain && attr(n, "value") != ticket {
				t.Errorf("ticket %q is posted as %q", ticket, attr(n, "value"))
			}
		}
	})
}

// benign is v with every visible text replaced by a plain word.
func benign(v Consent) Consent {
	word := func(s string) string {
		if s == "" {
			return ""
		}
		return "word"
	}
	view := newConsentView(v)
	plain := Consent{
		Action: "/", Ticket: "t", SwitchAction: word(v.SwitchAction),
		ClientName: word(view.ClientName), ClientHost: word(view.ClientHost),
		RedirectHost: word(view.RedirectHost), RedirectKind: v.RedirectKind,
		ResourceName: word(view.ResourceName), Resource: word(view.Resource),
		Account: word(view.Account), SiteName: word(view.SiteName), ProviderNames: []string{word(view.Providers)},
		OfflineAccess: v.OfflineAccess,
	}
	for _, s := range view.Scopes {
		plain.Scopes = append(plain.Scopes, Scope{Name: word(s.Name), Description: word(s.Description), Includes: slices.Repeat([]string{"word"}, len(s.Includes))})
	}
	return plain
}
