package access

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestBearer(t *testing.T) {
	long := strings.Repeat("t", 4096)
	for _, tc := range []struct {
		name   string
		values []string
		want   string
		err    error
	}{
		{"a token", []string{"Bearer mcpat_abc-DEF.~+/09=="}, "mcpat_abc-DEF.~+/09==", nil},
		{"the scheme in another case", []string{"bEARER t"}, "t", nil},
		{"several spaces", []string{"Bearer   t"}, "t", nil},
		{"the longest token", []string{"Bearer " + long}, long, nil},
		{"no header", nil, "", ErrNoToken},
		{"a header without values", []string{}, "", ErrNoToken},
		{"an empty header", []string{""}, "", ErrNoToken},
		{"another scheme", []string{"Basic dTpw"}, "", ErrNoToken},
		{"a scheme that begins like it", []string{"BearerX t"}, "", ErrNoToken},
		{"a scheme that is look-alike", []string{"Be\u0430rer t"}, "", ErrNoToken},
		{"a tab instead of a space", []string{"Bearer\tt"}, "", ErrNoToken},
		{"no token", []string{"Bearer"}, "", ErrMalformed},
		{"only spaces", []string{"Bearer   "}, "", ErrMalformed},
		{"only padding", []string{"Bearer =="}, "", ErrMalformed},
		{"padding inside", []string{"Bearer a=b"}, "", ErrMalformed},
		{"a space inside", []string{"Bearer a b"}, "", ErrMalformed},
		{"a space behind", []string{"Bearer a "}, "", ErrMalformed},
		{"a list of credentials", []string{"Bearer a, Bearer b"}, "", ErrMalformed},
		{"a quoted token", []string{`Bearer "a"`}, "", ErrMalformed},
		{"parameters", []string{`Bearer token="a"`}, "", ErrMalformed},
		{"a line break", []string{"Bearer a\r\nX: y"}, "", ErrMalformed},
		{"NUL", []string{"Bearer a\x00"}, "", ErrMalformed},
		{"beyond ASCII", []string{"Bearer \uff41"}, "", ErrMalformed},
		{"too long", []string{"Bearer " + long + "t"}, "", ErrMalformed},
		{"two headers", []string{"Bearer a", "Bearer b"}, "", ErrRepeated},
		{"the same header twice", []string{"Bearer a", "Bearer a"}, "", ErrRepeated},
		{"another scheme beside it", []string{"Basic dTpw", "Bearer a"}, "", ErrRepeated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{"X-Api-Key": {"other"}, "Authorization": tc.values}
			got, err := Bearer(h)
			if got != tc.want || err != tc.err {
				t.Errorf("got %.20q, %v; want %.20q, %v", got, err, tc.want, tc.err)
			}
			if n := testing.AllocsPerRun(100, func() { _, _ = Bearer(h) }); n != 0 {
				t.Errorf("it took %v allocations", n)
			}
		})
	}
}

func FuzzBearer(f *testing.F) {
	f.Add("Bearer mcpat_abc==")
	f.Add("bearer  a.b.c")
	f.Add("Bearer a, Bearer b")
	f.Add("Basic dTpw")
	f.Fuzz(func(t *testing.T, value string) {
		token, err := Bearer(http.Header{"Authorization": {value}})
		if err != nil {
			if token != "" || !errors.Is(err, ErrNoToken) && !errors.Is(err, ErrMalformed) {
				t.Errorf("got %q, %v", token, err)
			}
			return
		}
		if token == "" || len(token) > MaxToken || !strings.EqualFold(strings.TrimRight(value[:len(value)-len(token)], " "), "Bearer") || !strings.HasSuffix(value, token) {
			t.Errorf("%q became %q", value, token)
		}
		if again, err := Bearer(http.Header{"Authorization": {"Bearer " + token}}); err != nil || again != token {
			t.Errorf("%q, parsed again, became %q, %v", token, again, err)
		}
		if strings.ContainsAny(token, " ,\"\r\n\t\x00") {
			t.Errorf("got token %q", token)
		}
	})
}

func BenchmarkBearer(b *testing.B) {
	h := http.Header{"Authorization": {"Bearer mcpat_" + strings.Repeat("a", 240)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Bearer(h); err != nil {
			b.Fatal(err)
		}
	}
}
