package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// profile is what one MCP client sends, in the files of testdata/clients. Values in braces stand for
// what only the run knows.
type profile struct {
	Client      string // its name, for people
	Behaviour   string // what is particular about it
	Endpoint    string
	OneResource bool   `json:"one_resource"` // works only where the site is one resource
	ClientID    string `json:"client_id"`    // the URL of its metadata document, if it has one

	Discovery    []profileRequest
	Registration *profileRequest
	Authorize    map[string]string
	Granted      string // the scope it gets where the scopes it asks for exist
	Token        profileRequest
	Refresh      profileRequest
	MCPHeaders   map[string]string `json:"mcp_headers"`
}

// profileRequest is a request of a client and what it needs of the answer.
type profileRequest struct {
	Method, Path string
	Headers      map[string]string
	Form         map[string]string
	JSON         json.RawMessage
	Status       int
	Members      map[string]any // what a JSON answer has to hold; of arrays, the elements
}

// readProfiles reads all profiles, by the name of their file.
func readProfiles(t *testing.T) map[string]*profile {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "clients", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	profiles := make(map[string]*profile)
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p := new(profile)
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(p); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		profiles[strings.TrimSuffix(filepath.Base(file), ".json")] = p
	}
	if len(profiles) == 0 {
		t.Fatal("there are no profiles")
	}
	return profiles
}

// replay sends the requests of one profile.
type replay struct {
	*oauthClient
	values map[string]string
}

// know sets what a value in braces stands for.
func (r *replay) know(name, value string) { r.values["{"+name+"}"] = value }

func (r *replay) expand(s string) string {
	for placeholder, value := range r.values {
		s = strings.ReplaceAll(s, placeholder, value)
	}
	return s
}

// knowCredentials derives the ways in which clients write their id and secret into an Authorization
// header: form-encoded first, as RFC 6749, section 2.3.1, wants it, or not.
func (r *replay) knowCredentials(id, secret string) {
	r.know("client_id", id)
	r.know("client_secret", secret)
	r.know("basic", base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret))))
	r.know("basic_as_is", base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
}

// send sends a request and fails the test unless the answer is what the client needs.
func (r *replay) send(q *profileRequest) answer {
	r.t.Helper()
	header := make(http.Header)
	for name, value := range q.Headers {
		header.Set(name, r.expand(value))
	}
	var body io.Reader
	switch {
	case q.JSON != nil:
		body = strings.NewReader(r.expand(string(q.JSON)))
	case q.Form != nil:
		form := make(url.Values)
		for name, value := range q.Form {
			form.Set(name, r.expand(value))
		}
		body = strings.NewReader(form.Encode())
	}
	a := r.do(q.Method, q.Path, header, body)
	if a.Status != q.Status {
		r.t.Fatalf("%s %s was answered with %d, want %d: %s %.300s", q.Method, q.Path, a.Status, q.Status, a.Error, a.Body)
	}
	r.wantMembers(q, a)
	if header.Get("Origin") != "" && a.Header.Get("Access-Control-Allow-Origin") == "" {
		r.t.Errorf("%s %s: a script of %s may not read the answer", q.Method, q.Path, header.Get("Origin"))
	}
	return a
}

// wantMembers asserts what a JSON answer holds, and that nothing in it is null: clients whose types
// have no null reject the whole answer.
func (r *replay) wantMembers(q *profileRequest, a answer) {
	r.t.Helper()
	if len(q.Members) == 0 && !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		return
	}
	var members map[string]any
	if err := json.Unmarshal(a.Body, &members); err != nil {
		r.t.Fatalf("%s %s: the answer is no JSON object: %v", q.Method, q.Path, err)
	}
	for name, value := range members {
		if value == nil {
			r.t.Errorf("%s %s: %s is null", q.Method, q.Path, name)
		}
	}
	for name, want := range q.Members {
		if !r.holds(members[name], want) {
			r.t.Errorf("%s %s: %s is %v, want %v", q.Method, q.Path, name, members[name], want)
		}
	}
}

func (r *replay) holds(got, want any) bool {
	switch want := want.(type) {
	case string:
		return got == r.expand(want)
	case []any:
		list, ok := got.([]any)
		if !ok {
			return false
		}
		for _, element := range want {
			if !slices.ContainsFunc(list, func(e any) bool { return r.holds(e, element) }) {
				return false
			}
		}
		return true
	}
	return got == want
}
