package pages

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func TestMoments(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   time.Time
		want string
	}{
		{"now", noon, "just now"},
		{"a second ago", noon.Add(-time.Second), "just now"},
		{"almost two minutes ago", noon.Add(-119 * time.Second), "1 minute ago"},
		{"minutes ago", noon.Add(-59 * time.Minute), "59 minutes ago"},
		{"hours ago", noon.Add(-23 * time.Hour), "23 hours ago"},
		{"yesterday", noon.Add(-24 * time.Hour), "1 day ago"},
		{"a week ago", noon.Add(-7 * 24 * time.Hour), "25 Oct 2026"},
		{"soon", noon.Add(time.Second), "in a moment"},
		{"in hours", noon.Add(90 * time.Minute), "in 1 hour"},
		{"in days", noon.Add(3 * 24 * time.Hour), "in 3 days"},
		{"next year", noon.AddDate(1, 0, 0), "1 Nov 2027"},
		{"in another zone", noon.In(time.FixedZone("x", 7200)).Add(-30 * 24 * time.Hour), "2 Oct 2026"},
		{"so far away that the distance overflows", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), "1 Jan 9999"},
		{"at the beginning of time", time.Unix(0, 0), "1 Jan 1970"},
		{"never", time.Time{}, ""},
	} {
		got := momentOf(tc.at, noon)
		if got.Text != tc.want || (got.Stamp == "") != tc.at.IsZero() {
			t.Errorf("%s: %+v, want %q", tc.name, got, tc.want)
		}
	}
	if got := momentOf(noon, noon); got.Full != "1 Nov 2026, 12:00 UTC" || got.Stamp != "2026-11-01T12:00:00Z" {
		t.Errorf("%+v", got)
	}
	if got := momentOf(noon, time.Time{}).Text; got != "1 Nov 2026" {
		t.Errorf("without a clock: %q", got)
	}
}

func TestBrowserNames(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                          "Firefox on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15":                     "Safari on macOS",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                                     "Chrome on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0":                 "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1":    "Chrome on iPhone",
		"Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36": "Samsung Internet on Android",
		"curl/8.14.1": "curl",
		"Windows":     "A browser on Windows",
		"":            "Unknown browser",
		"<script>alert(1)</script> your account is locked, call 555": "Unknown browser",
	} {
		if got := browserName(agent); got != want {
			t.Errorf("browserName(%q) = %q, want %q", agent, got, want)
		}
	}
}

func TestThePageOfAPerson(t *testing.T) {
	v := Portal{
		Action: "/my", Ticket: "sealed", TokensLink: "/my/tokens", SignOutLink: "/oauth2/logout", Account: "alice@example.com", Now: noon,
		Apps: []ConnectedApp{
			{ID: "1", Name: "Claude", Origin: VerifiedHost, Host: "claude.ai", Resource: "https://mcp.example.com", LastUse: noon.Add(-time.Hour)},
			{ID: "2", Name: "Editor", Origin: SetUpByOperator},
			{ID: "3", Name: "Claude"},
		},
		Browsers: []SignedInBrowser{{ID: "4", This: true}, {ID: "5"}},
	}
	doc := parse(t, get(func(w http.ResponseWriter, r *http.Request) { WritePortal(w, r, http.StatusOK, v) }))
	entries := elements(doc, func(n *html.Node) bool { return attr(n, "class") == "entry" })
	if len(entries) != 3 {
		t.Fatalf("%d entries", len(entries))
	}
	for i, want := range []string{"Claude Verified host Published by claude.ai.", "Editor Known Set up by", "Claude Unverified It registered itself."} {
		if got := text(entries[i]); !strings.HasPrefix(got, want) {
			t.Errorf("entry %d says %q, want %q first", i, got, want)
		}
	}
	if got := text(entries[0]); !strings.Contains(got, "1 hour ago") || !strings.HasSuffix(got, "Disconnect Claude") {
		t.Errorf("entry 0 says %q", got)
	}
	actions := map[string]int{}
	for _, form := range elements(doc, named("form")) {
		if attr(form, "action") != "/my" || attr(form, "method") != "post" {
			t.Errorf("form to %s by %s", attr(form, "action"), attr(form, "method"))
		}
		fields := map[string]string{}
		for _, n := range elements(form, named("input", "button")) {
			fields[attr(n, "name")] = attr(n, "value")
		}
		if fields["ticket"] != "sealed" {
			t.Errorf("form without its ticket: %v", fields)
		}
		actions[fields["do"]]++
	}
	for do, want := range map[string]int{DoDisconnect: 3, DoDisconnectAll: 1, DoEndBrowser: 1, DoSignOutAll: 1} {
		if actions[do] != want {
			t.Errorf("%d forms to %s, want %d", actions[do], do, want)
		}
	}
	if current := elements(doc, func(n *html.Node) bool { return attr(n, "aria-current") == "page" }); len(current) != 1 || attr(current[0], "href") != "/my" {
		t.Errorf("%d current pages", len(current))
	}
}

func TestTheFormForATokenKeepsChoices(t *testing.T) {
	v := Tokens{
		Action: "/my/tokens", Ticket: "sealed", HomeLink: "/my", Name: "ci", Days: []int{1, 90, 365}, Life: 90, Now: noon,
		Resources: []TokenResource{{URI: "https://mcp.example.com/a", Name: "A", Chosen: true}, {URI: "https://mcp.example.com/b"}},
		Scopes:    []TokenScope{{Name: "read"}, {Name: "write", Resources: []string{"A"}, Chosen: true}},
		Tokens:    []UserToken{{ID: "1", Name: "old", Label: "put-1", Resources: []string{"https://mcp.example.com/a"}, ExpiresAt: noon.Add(48 * time.Hour)}},
	}
	doc := parse(t, get(func(w http.ResponseWriter, r *http.Request) { WriteTokens(w, r, http.StatusOK, v) }))
	chosen := map[string]bool{}
	for _, n := range elements(doc, named("input", "option")) {
		for _, a := range n.Attr {
			if a.Key == "checked" || a.Key == "selected" {
				chosen[attr(n, "value")] = true
			}
		}
	}
	if len(chosen) != 3 || !chosen["https://mcp.example.com/a"] || !chosen["write"] || !chosen["90"] {
		t.Errorf("chosen are %v", chosen)
	}
	page := text(doc)
	for _, want := range []string{"1 day", "90 days", "1 year", "write at A", "in 2 days", "Revoke old"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q: %s", want, page)
		}
	}
}

func TestANewTokenIsShownAsItIs(t *testing.T) {
	v := MintedToken{Token: "mcput_" + strings.Repeat("Ab-_", 200), Name: "ci", Link: "/my/tokens", ExpiresAt: noon}
	doc := parse(t, get(func(w http.ResponseWriter, r *http.Request) { WriteMinted(w, r, v) }))
	token := elements(doc, func(n *html.Node) bool { return attr(n, "id") == "token" })
	if len(token) != 1 || text(token[0]) != v.Token || !strings.Contains(text(doc), "1 Nov 2026") {
		t.Errorf("the page says %q", text(doc))
	}
}

func TestTheChoiceOfOneProviderIsASignIn(t *testing.T) {
	one := Choose{Purpose: "See what is yours.", Providers: []Provider{{ID: "a", Name: "A"}}}
	two := Choose{Providers: []Provider{{ID: "a", Name: "A"}, {ID: "b", Name: "B"}}}
	for want, v := range map[string]Choose{"Sign in See what is yours. Continue with A": one, "Choose how to sign in Continue with A Continue with B": two} {
		doc := parse(t, get(func(w http.ResponseWriter, r *http.Request) { WriteChoose(w, r, v) }))
		if got := text(elements(doc, named("main"))[0]); got != want {
			t.Errorf("the page says %q, want %q", got, want)
		}
	}
}
