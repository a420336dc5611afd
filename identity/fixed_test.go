package identity

import (
	"strings"
	"testing"
)

func TestAFixedUserIsNobodyElse(t *testing.T) {
	fixed, err := NewFixed("dev", "development mode", "dev", User{Email: "Dev@Example.com", Name: "Dev\x00eloper", Groups: []string{"staff"}})
	if err != nil {
		t.Fatal(err)
	}
	u := fixed.User()
	if u.Issuer != "dev" || u.Subject != localSubject("dev@example.com") || u.VerifiedEmail() != "dev@example.com" || strings.Contains(u.Name, "\x00") {
		t.Errorf("user %+v", u)
	}
	u.Groups[0] = "admin"
	if got := fixed.User().Groups[0]; got != "staff" {
		t.Errorf("a caller changed everybody's group to %q", got)
	}
}

func TestNewFixed(t *testing.T) {
	for _, tc := range []struct {
		name, id, issuer, email string
		groups                  []string
		want                    string // a part of the error; empty for none
	}{
		{"all in order", "dev", "dev", "dev@example.com", []string{"a", "b c"}, ""},
		{"no address", "dev", "dev", "", nil, "e-mail"},
		{"an address without a domain", "dev", "dev", "dev@localhost", nil, "e-mail"},
		{"an address that breaks a header", "dev", "dev", "dev@example.com\r\nX-Forwarded-User: root", nil, "e-mail"},
		{"a group that is two", "dev", "dev", "dev@example.com", []string{"a,admin"}, "group"},
		{"more groups than fit", "dev", "dev", "dev@example.com", strings.Split(strings.Repeat("g ", maxGroups)+"g", " "), "more than"},
		{"no id", "", "dev", "dev@example.com", nil, "fixed user"},
		{"no issuer", "dev", "", "dev@example.com", nil, "issuer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := NewFixed(tc.id, "development mode", tc.issuer, User{Email: tc.email, Groups: tc.groups})
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
