package sseproxy

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
)

func paths(t testing.TB, patterns ...string) *Paths[string] {
	t.Helper()
	p := NewPaths[string]()
	for _, pattern := range patterns {
		if err := p.Add(pattern, pattern); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestPathsMatch(t *testing.T) {
	p := paths(t, "/github/*", "/Linear/", "/a/b/c")
	for _, tc := range []struct{ name, path, want string }{
		{"the path itself", "/github", "/github/*"},
		{"with a slash", "/github/", "/github/*"},
		{"below", "/github/mcp/x", "/github/*"},
		{"a deeper resource", "/a/b/c/d", "/a/b/c"},
		{"above a resource", "/a/b", ""},
		{"a longer name", "/githubber", ""},
		{"a name that ends alike", "/x/github", ""},
		{"the root", "/", ""},
		{"nothing", "", ""},
		{"another case", "/GitHub/x", "/github/*"},
		{"another case in the configuration", "/linear/x", "/Linear/"},
		{"a letter that folds to ASCII", "/git\u0068ub\u002fx", "/github/*"},
		{"the Kelvin sign", "/lin\u212aear", ""},
		{"doubled slashes", "//github//x", "/github/*"},
		{"dot segments", "/public/../github/x", "/github/*"},
		{"dot segments that leave, for a server that keeps them", "/github/../public", "/github/*"},
		{"a backslash", `/github\x`, "/github/*"},
		{"dots and backslashes", `/public\..\github`, "/github/*"},
		{"a path parameter", "/github;v=1/x", "/github/*"},
		{"a parameter on dots", "/public/..;/github", "/github/*"},
		{"NUL", "/github\x00.png", "/github/*"},
		{"a second encoding", "/%67ithub/x", "/github/*"},
		{"a third encoding", "/public%252f..%252fgithub", "/github/*"},
		{"an encoded parameter", "/a;%2f..%2fgithub", "/github/*"},
		{"dots and blanks at the end", "/github. /x", "/github/*"},
		{"no leading slash", "github/x", "/github/*"},
		{"a broken escape", "/%zz/%6", ""},
		{"a very deep path", strings.Repeat("/x", 10000) + "/..", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := p.Match(tc.path)
			if got != tc.want || ok != (tc.want != "") {
				t.Errorf("Match(%q) = %q, %v, want %q", tc.path, got, ok, tc.want)
			}
		})
	}
	if got, ok := paths(t, "/").Match("/any/thing"); !ok || got != "/" {
		t.Error("the whole site is not guarded")
	}
	if got, ok := paths(t, "/k/*").Match("/\u212a/x"); !ok || got != "/k/*" {
		t.Error("the Kelvin sign is no k")
	}
}

func TestPathsAdd(t *testing.T) {
	for _, tc := range []struct {
		name, first, second string
		want                error
	}{
		{"side by side", "/a", "/b", nil},
		{"a longer name", "/a", "/ab", nil},
		{"common ancestor", "/x/a", "/x/b", nil},
		{"the same", "/a", "/a", ErrPathOverlap},
		{"the same in another form", "/a", "/a/*", ErrPathOverlap},
		{"the same in another case", "/a", "/A/", ErrPathOverlap},
		{"inside", "/a", "/a/b", ErrPathOverlap},
		{"around", "/a/b/c", "/a", ErrPathOverlap},
		{"everything, second", "/a", "/*", ErrPathOverlap},
		{"everything, first", "/", "/a", ErrPathOverlap},
		{"empty", "/x", "", ErrPathForm},
		{"relative", "/x", "a", ErrPathForm},
		{"a star in a name", "/x", "/a*", ErrPathForm},
		{"a star inside", "/x", "/*/a", ErrPathForm},
		{"encoded", "/x", "/%61", ErrPathForm},
		{"a parameter", "/x", "/a;b", ErrPathForm},
		{"a dot segment", "/x", "/a/../b", ErrPathForm},
		{"an empty segment", "/x", "/a//b", ErrPathForm},
		{"a backslash", "/x", `/a\b`, ErrPathForm},
		{"not ASCII", "/x", "/ä", ErrPathForm},
		{"a blank", "/x", "/a b", ErrPathForm},
		{"a placeholder", "/x", "/{env.X}", ErrPathForm},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := paths(t, tc.first).Add(tc.second, ""); !errors.Is(err, tc.want) {
				t.Errorf("adding %q to %q: %v, want %v", tc.second, tc.first, err, tc.want)
			}
		})
	}
}

// The web server lowers the decoded path, cleans it and compares the beginning.
func FuzzPathsMatch(f *testing.F) {
	for _, p := range []string{"/github/x", "/GITHUB//x", "/a/../github/b", "/%67ithub", "/\u212a/", "/x/..", "/github/../x", "a"} {
		f.Add(p)
	}
	set := paths(f, "/github/*", "/k/*", "/s/t/*")
	f.Fuzz(func(t *testing.T, p string) {
		cleaned := path.Clean(strings.ToLower(p))
		if strings.HasSuffix(p, "/") && cleaned != "/" {
			cleaned += "/"
		}
		got, ok := set.Match(p)
		for _, resource := range []string{"/github", "/k", "/s/t"} {
			if (cleaned == resource || strings.HasPrefix(cleaned, resource+"/")) && got != resource+"/*" {
				t.Errorf("Match(%q) = %q, %v, want %s", p, got, ok, resource)
			}
		}
	})
}

func TestAmbiguous(t *testing.T) {
	for _, tc := range []struct {
		target string
		want   bool
	}{
		{"/", false}, {"/github", false}, {"/GitHub/mcp/", false}, {"/a%20b", false}, {"/caf%C3%A9", false},
		{"/.well-known/x", false}, {"/a.b/c..d", false}, {"/100%25", false}, {"/a?x=/../%2f;", false}, {"/~u/@x:y", false},
		{"/a%2fb", true}, {"/a%2Fb", true}, {"/a%5cb", true}, {"/a%5Cb", true}, {`/a\b`, true}, {"/a%00", true},
		{"/a/./b", true}, {"/a/../b", true}, {"/a/..", true}, {"/a/%2e%2e/b", true}, {"/a/.%2E/b", true}, {"/a%2eb", true},
		{"/a;b", true}, {"/a%3bb", true}, {"//a", true}, {"/a//b", true}, {"/a%252fb", true}, {"/a%25252fb", true},
		{"/%252e%252e/x", true}, {"/a%0ab", true}, {"/a%7f", true}, {"/%c0%af", true}, {"/a#b", true}, {"*", true},
	} {
		t.Run(tc.target, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			u, err := url.ParseRequestURI(tc.target)
			if err != nil {
				t.Fatal(err)
			}
			r.URL = u
			if got := Ambiguous(r); got != tc.want {
				t.Errorf("Ambiguous = %v, want %v", got, tc.want)
			}
		})
	}
	for name, u := range map[string]*url.URL{"opaque": {Opaque: "//x/y"}, "relative": {Path: "a/b"}} {
		r := httptest.NewRequest("GET", "/", nil)
		if r.URL = u; !Ambiguous(r) {
			t.Errorf("%s URL is not ambiguous", name)
		}
	}
}

// What Ambiguous lets through has one reading: the path that was matched is the path that is forwarded.
func FuzzAmbiguous(f *testing.F) {
	for _, target := range []string{"/a%2fb", "/a/../b", "/%252e", "/a b", "/a;b"} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Path == "" {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = u
		if Ambiguous(r) {
			return
		}
		slash := strings.HasSuffix(u.Path, "/") && u.Path != "/"
		if cleaned := path.Clean(u.Path); u.Path != cleaned && !(slash && u.Path == cleaned+"/") {
			t.Errorf("%q is not ambiguous, and cleans to %q", u.Path, cleaned)
		}
		if strings.Count(u.EscapedPath(), "/") != strings.Count(u.Path, "/") {
			t.Errorf("%q is not ambiguous, and has other segments than %q", u.EscapedPath(), u.Path)
		}
	})
}

func TestTokenInQuery(t *testing.T) {
	for query, want := range map[string]bool{
		"": false, "a=b": false, "token=x": false, "x=access_token": false, "access_tokens=x": false,
		"access_token=x": true, "a=b&access_token=x": true, "a=b;access_token=x": true, "access_token": true,
		"%61ccess_token=x": true, "ACCESS_TOKEN=x": true, "access_token[]=x": true, "access%5Ftoken=x": true,
		"+access_token=x": true, "%61ccess_token%zz=x": false, "access_token%5b0]=x": true,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		if got := TokenInQuery(r); got != want {
			t.Errorf("TokenInQuery(%q) = %v", query, got)
		}
	}
}

func TestLookupsOfPlainPathsAllocateNothing(t *testing.T) {
	p := paths(t, "/github/*")
	r := httptest.NewRequest("GET", "/github/mcp?x=y", nil)
	if n := testing.AllocsPerRun(100, func() {
		p.Match(r.URL.Path)
		Ambiguous(r)
		TokenInQuery(r)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPathsMatch(b *testing.B) {
	for _, n := range []int{1, 1000} {
		p := NewPaths[int]()
		for i := range n {
			if err := p.Add(fmt.Sprintf("/team/server%d/*", i), i); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				p.Match("/team/server0/mcp")
			}
		})
	}
}
