package pages

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func message(status int, v Message) *httptest.ResponseRecorder {
	return get(func(w http.ResponseWriter, r *http.Request) { WriteMessage(w, r, status, v) })
}

func TestMessageSaysWhatHappenedAndWhatToDo(t *testing.T) {
	w := message(http.StatusServiceUnavailable, Message{
		Title: "Not available", Text: "The provider did not answer.", Advice: "Try again.", Ways: []string{"One: so", "Two: <b>so</b>"}, Detail: "timeout",
		ID: "9f31c0de", RetryAfter: 30 * time.Second, Link: "/my?x=1&y=2", LinkText: "Your page", SiteName: "mcp.example.com",
	})
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "30" {
		t.Errorf("status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	doc := parse(t, w)
	got := text(elements(doc, named("main"))[0])
	for _, s := range []string{"Not available", "The provider did not answer.", "Try again.", "One: so", "Two: <b>so</b>", "timeout", "9f31c0de", "30 seconds"} {
		if !strings.Contains(got, s) {
			t.Errorf("the page does not say %q: %s", s, got)
		}
	}
	links := elements(doc, named("a"))
	if len(links) != 1 || attr(links[0], "href") != "/my?x=1&y=2" || text(links[0]) != "Your page" {
		t.Errorf("%d links", len(links))
	}
	if title := text(elements(doc, named("title"))[0]); title != "Not available · mcp.example.com" {
		t.Errorf("title %q", title)
	}
}

func TestAnEmptyMessageStillHasAHeading(t *testing.T) {
	for status, want := range map[int]string{http.StatusOK: "Notice", http.StatusBadGateway: "Something went wrong"} {
		w := message(status, Message{Title: "\u202e"})
		if got := text(elements(parse(t, w), named("h1"))[0]); got != want {
			t.Errorf("status %d: heading %q, want %q", status, got, want)
		}
		if got := w.Header().Values("Retry-After"); got != nil {
			t.Errorf("Retry-After %q", got)
		}
	}
}

func TestMessageLinksOnlyWhereItIsSafe(t *testing.T) {
	for _, tc := range []struct {
		name, link string
		want       bool
	}{
		{"a path of this site", "/my", true},
		{"an https address", "https://docs.example.com/x", true},
		{"an http address, for development", "http://localhost:8080/", true},
		{"a script", "javascript:alert(1)", false},
		{"a script behind a space", " javascript:alert(1)", false},
		{"data", "data:text/html,x", false},
		{"an app", "cursor://x", false},
		{"another site without a scheme", "//evil.example", false},
		{"another site as browsers read it", `/\evil.example`, false},
		{"a slash hidden by a line feed", "/\n/evil.example", false},
		{"a path that depends on where the page is", "my", false},
		{"a scheme without a host", "https:/x", false},
		{"nothing", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := message(http.StatusOK, Message{Title: "x", Link: tc.link, LinkText: "go"})
			links := elements(parse(t, w), named("a"))
			if got := len(links) == 1; got != tc.want {
				t.Errorf("linked: %v", got)
			}
			if tc.want && attr(links[0], "href") != tc.link {
				t.Errorf("href %q", attr(links[0], "href"))
			}
		})
	}
}

func TestLeavingLinksToTheApplication(t *testing.T) {
	for _, tc := range []struct {
		name, target, says string
	}{
		{"a private-use scheme", "cursor://anysphere.cursor-mcp/oauth/callback?code=mcpac_s3cret&state=a%20b&iss=https%3A%2F%2Fa.example", "the app for cursor: addresses"},
		{"a scheme with dots and no host", "com.example.app:/callback?code=mcpac_s3cret", "the app for com.example.app: addresses"},
		{"a loopback port", "http://127.0.0.1:3000/cb?code=mcpac_s3cret", "leads to 127.0.0.1:3000."},
		{"a host", "https://claude.ai/cb?code=mcpac_s3cret", "leads to claude.ai."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := get(func(w http.ResponseWriter, r *http.Request) {
				WriteLeaving(w, r, Leaving{Target: tc.target, ClientName: "Cursor"})
			})
			doc := parse(t, w)
			links := elements(doc, named("a"))
			if w.Code != http.StatusOK || len(links) != 1 || attr(links[0], "href") != tc.target {
				t.Fatalf("status %d, %d links: %s", w.Code, len(links), w.Body)
			}
			got := text(doc)
			if !strings.Contains(got, tc.says) || !strings.Contains(got, "“Cursor”") || !strings.Contains(got, "close this window") {
				t.Errorf("the page says %q", got)
			}
			if strings.Contains(got, "s3cret") {
				t.Error("the page shows the authorization code")
			}
		})
	}
}

func TestLeavingRefusesWhatNoApplicationCouldMean(t *testing.T) {
	for _, target := range []string{
		"javascript:alert(1)", "JavaScript:alert(1)", "java\nscript:alert(1)", " javascript:alert(1)", "\x01javascript:alert(1)",
		"data:text/html,x", "vbscript:x", "blob:https://a.example/x", "file:///etc/passwd", "about:blank",
		"view-source:https://a.example", "intent://x#Intent;end", "//evil.example", "/path", "", "https:///x", "://",
	} {
		w := get(func(w http.ResponseWriter, r *http.Request) { WriteLeaving(w, r, Leaving{Target: target}) })
		if w.Code != http.StatusBadRequest || len(elements(parse(t, w), named("a"))) != 0 {
			t.Errorf("%q: status %d", target, w.Code)
		}
	}
}
