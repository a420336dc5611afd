package sseproxy

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// No server behind us finds an access token, or the ID of a session, that we do not.
func FuzzQueries(f *testing.F) {
	for _, query := range []string{
		"a=b&access_token=x", "%61ccess_token", "sessionId=1&mcp_session_tag=x", "a;session_id=2", "&&=&;", "s%45ssionID[]=1",
		"mcp_session_tag=1&mcp_session_tag=2", "a+b=c%20d", "%zz=%",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("POST", "/", nil)
		r.URL.RawQuery = query
		token := TokenInQuery(r)
		rest, tags, named := splitQuery(query)
		for _, reading := range []string{query, strings.ReplaceAll(query, ";", "&")} {
			values, _ := url.ParseQuery(reading) // skips what it cannot read
			for key := range values {
				if key == "access_token" && !token {
					t.Errorf("%q carries a token", query)
				}
				if (key == "sessionId" || key == "session_id" || key == "sessionid") && !named {
					t.Errorf("%q names a session", query)
				}
			}
		}
		pairs := strings.Split(query, "&")
		kept := strings.Split(rest, "&")
		if rest == "" && len(tags) == len(pairs) {
			kept = nil
		}
		if len(kept)+len(tags) != len(pairs) {
			t.Errorf("%q fell apart into %q and %q", query, rest, tags)
		}
		for _, pair := range pairs {
			if strings.HasPrefix(pair, tagParameter+"=") || pair == tagParameter {
				continue
			}
			if len(kept) == 0 || kept[0] != pair {
				t.Fatalf("%q became %q", query, rest)
			}
			kept = kept[1:]
		}
	})
}
