package oauthmeta

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

const document = `{"issuer":"https://a.example"}`

func serve(method string, handler func(http.ResponseWriter, *http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://a.example/.well-known/oauth-authorization-server", nil)
	r.Header.Set("Origin", "https://browser.example")
	w := httptest.NewRecorder()
	handler(w, r)
	return w
}

func writeDocument(w http.ResponseWriter, r *http.Request) { WriteDocument(w, r, []byte(document)) }

func TestWriteDocument(t *testing.T) {
	for _, tc := range []struct {
		method, body string
		status       int
	}{
		{http.MethodGet, document, http.StatusOK},
		{http.MethodHead, "", http.StatusOK},
		{http.MethodOptions, "", http.StatusNoContent},
	} {
		t.Run(tc.method, func(t *testing.T) {
			w := serve(tc.method, writeDocument)
			if w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("Access-Control-Allow-Origin: %q", got)
			}
		})
	}
}

func TestWriteDocumentHeaders(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		h := serve(method, writeDocument).Header()
		for name, want := range map[string]string{
			"Content-Type":           "application/json",
			"Content-Length":         strconv.Itoa(len(document)),
			"X-Content-Type-Options": "nosniff",
			"Cache-Control":          "public, max-age=300",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", method, name, got, want)
			}
		}
	}
}

func TestWriteDocumentRefusesOtherMethods(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodConnect, http.MethodTrace, "PROPFIND"} {
		w := serve(method, writeDocument)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != readMethods || strings.Contains(w.Body.String(), "issuer") {
			t.Errorf("%s: %d, Allow: %q, %s", method, w.Code, w.Header().Get("Allow"), w.Body)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: a refusal may be cached: %q", method, got)
		}
	}
}

// Clients parse the answer of a well-known URL before they look at its status; an HTML page makes
// them report a parse error where they should have tried the next URL.
func TestNotFoundIsJSON(t *testing.T) {
	w := serve(http.MethodGet, WriteNotFound)
	var body struct{ Error string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error != "not_found" {
		t.Errorf("%v, %s", err, w.Body)
	}
	if w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/json" ||
		w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
	if w := serve(http.MethodOptions, WriteNotFound); w.Code != http.StatusNoContent {
		t.Errorf("a preflight got %d, so that scripts could not see the 404", w.Code)
	}
}

func TestPreflight(t *testing.T) {
	w := serve(http.MethodOptions, func(w http.ResponseWriter, r *http.Request) {
		if !Preflight(w, r, "POST, OPTIONS") {
			t.Error("not taken for a preflight")
		}
	})
	h := w.Header()
	if w.Code != http.StatusNoContent || h.Get("Access-Control-Allow-Methods") != "POST, OPTIONS" || w.Body.Len() != 0 {
		t.Errorf("%d, %v, %q", w.Code, h, w.Body)
	}
	for _, name := range []string{"Authorization", "Content-Type", "MCP-Protocol-Version", "Mcp-Session-Id", "Last-Event-ID"} {
		if !strings.Contains(h.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s may not be sent", name)
		}
	}
	for _, name := range []string{"WWW-Authenticate", "Mcp-Session-Id"} {
		if !strings.Contains(h.Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s may not be read", name)
		}
	}
	// With credentials, any site could act with the cookies of whoever visits it.
	if _, ok := h["Access-Control-Allow-Credentials"]; ok {
		t.Error("credentials are allowed")
	}
}

func TestPreflightLeavesOtherMethodsAlone(t *testing.T) {
	w := serve(http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
		if Preflight(w, r, "POST, OPTIONS") {
			t.Error("a POST was answered as a preflight")
		}
	})
	if len(w.Header()) != 0 {
		t.Errorf("headers were set: %v", w.Header())
	}
}
