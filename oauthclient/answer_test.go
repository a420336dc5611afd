package oauthclient

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestCode(t *testing.T) {
	for _, tc := range []struct {
		name, query string
		marks       bool // the server says that it marks its answers
		want        error
	}{
		{"a code", "code=c&state=s", false, nil},
		{"a code, marked", "code=c&state=s&iss=https%3A%2F%2Fas.example", true, nil},
		{"of another server", "code=c&state=s&iss=https%3A%2F%2Fevil.example", false, ErrAnswer},
		{"unmarked, though the server marks its answers", "code=c&state=s", true, ErrAnswer},
		{"a refusal of another server", "error=access_denied&state=s&iss=https%3A%2F%2Fevil.example", true, ErrAnswer},
		{"declined", "error=access_denied&state=s", false, ErrDeclined},
		{"an error in somebody's own words", "error=%3Cscript%3E&state=s", false, ErrAnswer},
		{"no code", "state=s", false, ErrAnswer},
		{"two codes", "code=c&code=d&state=s", false, ErrAnswer},
		{"a huge code", "state=s&code=" + strings.Repeat("c", maxCode+1), false, ErrAnswer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			md := &Metadata{Issuer: issuer, SendsIssuer: tc.marks}
			code, err := md.Code(must(url.ParseQuery(tc.query))(t))
			if !errors.Is(err, tc.want) || (code == "c") != (err == nil) || err != nil && strings.Contains(err.Error(), "script") {
				t.Errorf("%q, %v; want %v", code, err, tc.want)
			}
		})
	}
}
