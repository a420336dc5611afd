package browser_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
)

func TestAFormIsSentAsABrowserWould(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1", Path: "/", HttpOnly: true})
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, `<h1>Hi</h1><form method="post" action="/go"><input type="hidden" name="ticket" value="t&amp;1">
			<input name="who"><input type="checkbox" name="no" value="1"><button name="decision" value="allow"><b>Allow</b></button></form>`)
	})
	mux.HandleFunc("POST /go", func(w http.ResponseWriter, r *http.Request) {
		cookie, _ := r.Cookie("seen")
		_ = r.ParseForm()
		if cookie == nil || r.PostForm.Encode() != "decision=allow&ticket=t%261&who=me" ||
			r.Header.Get("Sec-Fetch-Site") != "same-origin" || !strings.HasSuffix(r.Header.Get("Origin"), r.Host) {
			http.Error(w, "not as a browser", http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, "http://app.example/cb?code=1", http.StatusSeeOther)
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	b := browser.New("http://app.example/cb")
	page, err := b.Open(t.Context(), server.URL)
	if err != nil || page.Text != "Hi Allow" {
		t.Fatalf("%+v, %v", page, err)
	}
	form, ok := page.Form("ticket")
	if !ok || form.Buttons[0].Label != "Allow" {
		t.Fatalf("forms: %+v", page.Forms)
	}
	if _, err := b.Submit(t.Context(), form, "deny", nil); err == nil {
		t.Error("a button that is not there was pressed")
	}
	if _, err := b.Submit(t.Context(), form, "allow", map[string]string{"other": "x"}); err == nil {
		t.Error("a field that is not there was filled in")
	}
	landed, err := b.Submit(t.Context(), form, "allow", map[string]string{"who": "me"})
	if err != nil || !landed.Landed || landed.URL.Query().Get("code") != "1" {
		t.Fatalf("%+v, %v", landed, err)
	}
}
