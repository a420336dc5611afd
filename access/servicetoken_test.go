package access

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	ciToken     = "ci-0123456789abcdefghijklmnopqrstuvwxyz"
	backupToken = "backup-0123456789abcdefghijklmnopqrstuvwxyz"
)

func serviceTokens(t testing.TB) *ServiceTokens {
	t.Helper()
	inside, err := NewNetworks([]string{"10.0.0.0/8"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := NewServiceTokens([]*ServiceToken{
		{Name: "ci", Hash: sha256.Sum256([]byte(ciToken)), Resources: map[string]string{"https://a.example/github": "read write"}},
		{Name: "backup", Hash: sha256.Sum256([]byte(backupToken)), Resources: map[string]string{"https://a.example/github": "read", "https://a.example/linear": ""},
			Networks: inside, Expires: time.Unix(1000, 0)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestServiceTokens(t *testing.T) {
	const github, linear, outside, inside = "https://a.example/github", "https://a.example/linear", "203.0.113.9", "10.0.0.1"
	for _, tc := range []struct {
		name, token, resource, addr string
		at                          int64
		want, scope                 string
		err                         error
	}{
		{"the token", ciToken, github, outside, 1, "ci", "read write", nil},
		{"another token", backupToken, github, inside, 1, "backup", "read", nil},
		{"another resource, without scopes", backupToken, linear, inside, 1, "backup", "", nil},
		{"a resource that it does not open", ciToken, linear, outside, 1, "ci", "", ErrTokenNotHere},
		{"a resource inside of one that it opens", ciToken, github + "/x", outside, 1, "ci", "", ErrTokenNotHere},
		{"another network", backupToken, github, outside, 1, "backup", "", ErrTokenNotHere},
		{"no address", backupToken, github, "", 1, "backup", "", ErrTokenNotHere},
		{"the last second", backupToken, github, inside, 999, "backup", "read", nil},
		{"the end", backupToken, github, inside, 1000, "backup", "", ErrTokenNotHere},
		{"no token", "", github, inside, 1, "", "", ErrUnknownToken},
		{"the beginning of one", ciToken[:len(ciToken)-1], github, outside, 1, "", "", ErrUnknownToken},
		{"one with something behind", ciToken + "x", github, outside, 1, "", "", ErrUnknownToken},
		{"one in another case", strings.ToUpper(ciToken), github, outside, 1, "", "", ErrUnknownToken},
		{"the hash of one", fmt.Sprintf("%x", sha256.Sum256([]byte(ciToken))), github, outside, 1, "", "", ErrUnknownToken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, scope, err := serviceTokens(t).Check(tc.token, tc.resource, tc.addr, time.Unix(tc.at, 0))
			if !errors.Is(err, tc.err) || scope != tc.scope || (got == nil) != (tc.want == "") || got != nil && got.Name != tc.want {
				t.Errorf("got %+v, %q, %v", got, scope, err)
			}
		})
	}
	if _, _, err := (*ServiceTokens)(nil).Check(ciToken, github, outside, time.Unix(1, 0)); !errors.Is(err, ErrUnknownToken) {
		t.Errorf("without any tokens: %v", err)
	}
}

// Who has been told to stop must not go on with what was opened before.
func TestServiceTokensAreHeldByNameValueAndResource(t *testing.T) {
	const github, linear = "https://a.example/github", "https://a.example/linear"
	tokens := serviceTokens(t)
	value := func(token, resource, addr string) [16]byte {
		found, _, err := tokens.Check(token, resource, addr, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		return found.Fingerprint()
	}
	ci, backup := value(ciToken, github, "203.0.113.9"), value(backupToken, linear, "10.0.0.1")
	for _, tc := range []struct {
		name, token string
		value       [16]byte
		resource    string
		at          int64
		want        bool
	}{
		{"the same", "ci", ci, github, 1, true},
		{"another value", "ci", backup, github, 1, false},
		{"no value", "ci", [16]byte{}, github, 1, false},
		{"another name", "nightly", ci, github, 1, false},
		{"a resource that it does not open", "ci", ci, linear, 1, false},
		{"the last second", "backup", backup, linear, 999, true},
		{"the end", "backup", backup, linear, 1000, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tokens.Holds(tc.token, tc.value, tc.resource, time.Unix(tc.at, 0)); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if (*ServiceTokens)(nil).Holds("ci", ci, github, time.Unix(1, 0)) {
		t.Error("held without any tokens")
	}
}

func TestHashServiceToken(t *testing.T) {
	if hash, err := HashServiceToken(ciToken); err != nil || hash != sha256.Sum256([]byte(ciToken)) {
		t.Errorf("got %x, %v", hash, err)
	}
	for name, token := range map[string]string{
		"nothing":                         "",
		"31 characters":                   ciToken[:31],
		"a repetition":                    strings.Repeat("changeme", 8),
		"a space":                         ciToken + " " + ciToken,
		"a line end":                      ciToken + "\n",
		"characters beyond ASCII":         ciToken + "\u00fc",
		"more than a bearer token can be": strings.Repeat(ciToken, 200),
	} {
		if _, err := HashServiceToken(token); err == nil || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestParseServiceTokenHash(t *testing.T) {
	want := sha256.Sum256([]byte(ciToken))
	for _, text := range []string{fmt.Sprintf("%x", want), fmt.Sprintf("%X", want)} {
		if got, err := ParseServiceTokenHash(text); err != nil || got != want {
			t.Errorf("%s: got %x, %v", text, got, err)
		}
	}
	for name, text := range map[string]string{
		"nothing":                "",
		"too few digits":         fmt.Sprintf("%x", want[:31]),
		"too many":               fmt.Sprintf("%x00", want),
		"another digit":          "g" + fmt.Sprintf("%x", want)[1:],
		"a token":                ciToken,
		"the hash of nothing":    fmt.Sprintf("%x", sha256.Sum256(nil)),
		"the hash of a line end": fmt.Sprintf("%x", sha256.Sum256([]byte("\n"))),
		"what sha256sum prints":  fmt.Sprintf("%x  -", want),
	} {
		if got, err := ParseServiceTokenHash(text); err == nil {
			t.Errorf("%s: got %x", name, got)
		}
	}
}

func TestNewServiceTokensRefuses(t *testing.T) {
	a, b := sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b"))
	for _, tc := range []struct {
		name   string
		tokens []*ServiceToken
		want   string
	}{
		{"one name twice", []*ServiceToken{{Name: "ci", Hash: a}, {Name: "ci", Hash: b}}, "given twice"},
		{"one value twice", []*ServiceToken{{Name: "ci", Hash: a}, {Name: "backup", Hash: a}}, "token backup has the same value as token ci"},
	} {
		if _, err := NewServiceTokens(tc.tokens); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
}

func BenchmarkServiceTokens(b *testing.B) {
	tokens := serviceTokens(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := tokens.Check(ciToken, "https://a.example/github", "203.0.113.9", time.Unix(1, 0)); err != nil {
			b.Fatal(err)
		}
	}
}
