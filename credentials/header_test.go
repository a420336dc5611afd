package credentials

import (
	"errors"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
)

func TestHeader(t *testing.T) {
	for _, tc := range []struct {
		name, header, template string
		secret                 string
		want, field            string
	}{
		{"the default", "", "", "ghp_1", "Bearer ghp_1", "Authorization"},
		{"another header", "X-Api-Key", "", "ghp_1", "ghp_1", "X-Api-Key"},
		{"authorization in another case", "authorization", "", "ghp_1", "Bearer ghp_1", "authorization"},
		{"a scheme of its own", "Authorization", "token {credential}", "ghp_1", "token ghp_1", "Authorization"},
		{"something on both sides", "X-Auth", `key="{credential}"; v=1`, "ghp_1", `key="ghp_1"; v=1`, "X-Auth"},
		{"a credential that looks like the placeholder", "", "", "{credential}", "Bearer {credential}", "Authorization"},
		{"a credential that looks like a placeholder of Caddy", "", "", "{env.HOME}{http.request.uri}", "Bearer {env.HOME}{http.request.uri}", "Authorization"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, err := ParseHeader(tc.header, tc.template)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := h.Value(tc.secret); err != nil || got != tc.want || h.Name != tc.field {
				t.Errorf("%s: %q, %v; want %s: %q", h.Name, got, err, tc.field, tc.want)
			}
		})
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	for _, tc := range []struct{ name, header, template, want string }{
		{"no place for the credential", "X-Api-Key", "Bearer", "no place"},
		{"two places", "X-Api-Key", "{credential} {credential}", "twice"},
		{"a line break", "X-Api-Key", "a\r\nX-Admin: {credential}", "printable"},
		{"a tab", "X-Api-Key", "a\t{credential}", "printable"},
		{"beyond ASCII", "X-Api-Key", "é{credential}", "printable"},
		{"a space at the end", "X-Api-Key", "{credential} ", "space"},
		{"too long", "X-Api-Key", strings.Repeat("a", maxTemplate) + Placeholder, "too many"},
		{"a name with a colon", "X-Api:", "", "name"},
		{"a name with a line break", "X-Api\n", "", "name"},
		{"a name with an underscore", "X_Api", "", "name"},
		{"a name with a hyphen at the end", "X-Api-", "", "name"},
		{"a name that is too long", strings.Repeat("a", maxHeaderName+1), "", "name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := ParseHeader(tc.header, tc.template); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestCheckSecret(t *testing.T) {
	for _, secret := range []string{
		"", " ", "a b", "a\n", "a\r\nX-Admin: 1", "a\x00", "a\x7f", "töken", strings.Repeat("a", maxSecret+1),
	} {
		err := CheckSecret(secret)
		if !errors.Is(err, ErrSecret) {
			t.Errorf("%q is accepted", secret)
		}
		if _, err := (Header{Name: "X"}).Value(secret); err == nil {
			t.Errorf("%q got into a header", secret)
		}
	}
	for _, secret := range []string{"a", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "a.b-c_d~e+f/g=", strings.Repeat("a", maxSecret)} {
		if err := CheckSecret(secret); err != nil {
			t.Errorf("%q: %v", secret, err)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add("Authorization", "Bearer {credential}", "ghp_1")
	f.Add("X-Api-Key", "{credential}", "a\r\nX-Admin: 1")
	f.Add("", "", "{credential}{env.HOME}")
	f.Fuzz(func(t *testing.T, name, template, secret string) {
		h, err := ParseHeader(name, template)
		if err != nil {
			return
		}
		value, err := h.Value(secret)
		if err != nil {
			if value != "" || strings.Contains(err.Error(), secret) && len(secret) > 8 {
				t.Errorf("refused with %q, %v", value, err)
			}
			return
		}
		// What arrives is one header with this value, whoever reads it.
		var wire strings.Builder
		if err := (http.Header{h.Name: {value}}).Write(&wire); err != nil {
			t.Fatal(err)
		}
		if wire.String() != h.Name+": "+value+"\r\n" || textproto.TrimString(value) != value || strings.Count(value, secret) == 0 {
			t.Errorf("%q, %q, %q became %q", name, template, secret, wire.String())
		}
	})
}
