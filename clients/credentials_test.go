package clients

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func basic(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }

func tokenRequest(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/token?client_id=query&client_secret=query", nil)
	for _, h := range headers {
		r.Header.Add("Authorization", h)
	}
	return r
}

func TestParseCredentials(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		form    string
		want    Credentials
	}{
		{"a public client", nil, "client_id=a", Credentials{ClientID: "a", Method: AuthNone}},
		{"a public client with an empty secret", nil, "client_id=a&client_secret=", Credentials{ClientID: "a", Method: AuthNone}},
		{"a secret in the body", nil, "client_id=a&client_secret=s", Credentials{ClientID: "a", Secret: "s", Method: AuthSecretPost}},
		{"Basic", []string{basic("a:s")}, "", Credentials{ClientID: "a", Secret: "s", Method: AuthSecretBasic, rawSecret: "s"}},
		{"Basic in other case", []string{"bAsIc  " + basic("a:s")[len("Basic "):]}, "", Credentials{ClientID: "a", Secret: "s", Method: AuthSecretBasic, rawSecret: "s"}},
		{"Basic with form-encoded halves", []string{basic("https%3A%2F%2Fa.example%2Fx:s%2Bt+u")}, "",
			Credentials{ClientID: "https://a.example/x", Secret: "s+t u", Method: AuthSecretBasic, rawSecret: "s%2Bt+u"}},
		{"Basic with a colon in the secret", []string{basic("a:s:t")}, "", Credentials{ClientID: "a", Secret: "s:t", Method: AuthSecretBasic, rawSecret: "s:t"}},
		{"Basic with a percent sign in the secret", []string{basic("a:100%")}, "", Credentials{ClientID: "a", Secret: "100%", Method: AuthSecretBasic, rawSecret: "100%"}},
		{"Basic with an empty secret", []string{basic("a:")}, "", Credentials{ClientID: "a", Method: AuthNone}},
		{"Basic and the same client_id in the body", []string{basic("a:s")}, "client_id=a&client_secret=", Credentials{ClientID: "a", Secret: "s", Method: AuthSecretBasic, rawSecret: "s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseCredentials(tokenRequest(tc.headers...), form(t, tc.form))
			if err != nil || got != tc.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func form(t testing.TB, s string) url.Values {
	t.Helper()
	v, err := url.ParseQuery(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestParseCredentialsRefuses(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		form    string
		want    error
	}{
		{"nothing in body and header, though in the query", nil, "", ErrAuthentication},
		{"an empty client_id", nil, "client_id=", ErrAuthentication},
		{"a secret without an id", nil, "client_secret=s", ErrAuthentication},
		{"header and body", []string{basic("a:s")}, "client_id=a&client_secret=s", ErrMalformed},
		{"two clients", []string{basic("a:s")}, "client_id=b", ErrMalformed},
		{"two headers", []string{basic("a:s"), basic("a:s")}, "", ErrMalformed},
		{"client_id twice", nil, "client_id=a&client_id=b", ErrMalformed},
		{"client_secret twice", nil, "client_id=a&client_secret=s&client_secret=t", ErrMalformed},
		{"a bearer token", []string{"Bearer abc"}, "client_id=a", ErrAuthentication},
		{"an empty header", []string{""}, "client_id=a", ErrAuthentication},
		{"Basic without credentials", []string{"Basic"}, "client_id=a", ErrAuthentication},
		{"Basic that is not base64", []string{"Basic %%%"}, "client_id=a", ErrAuthentication},
		{"Basic with loose padding bits", []string{"Basic YTpzdB=="}, "client_id=a", ErrAuthentication},
		{"Basic without a colon", []string{basic("a")}, "client_id=a", ErrAuthentication},
		{"Basic without an id", []string{basic(":s")}, "client_id=a", ErrAuthentication},
		{"Basic with a broken id", []string{basic("%zz:s")}, "client_id=a", ErrAuthentication},
		{"a huge header", []string{basic(strings.Repeat("a", maxCredentials) + ":s")}, "", ErrAuthentication},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := ParseCredentials(tokenRequest(tc.headers...), form(t, tc.form))
			if !errors.Is(err, tc.want) || c != (Credentials{}) {
				t.Errorf("%v, %v; want %v", c, err, tc.want)
			}
		})
	}
}

func TestCredentialsDoNotPrintTheirSecret(t *testing.T) {
	c := Credentials{ClientID: "a", Secret: "hush", rawSecret: "hush", Method: AuthSecretPost}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if s := fmt.Sprintf(verb, c); strings.Contains(s, "hush") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

func TestParseAssertionCredentials(t *testing.T) {
	k := newKeyClient(t, "")
	assertion := sign(t, k.publish(t, "1", jose.ES256), k.claims("x"))
	base := url.Values{"client_assertion_type": {AssertionType}, "client_assertion": {assertion}}
	with := func(name string, values ...string) url.Values {
		v := url.Values{}
		for n := range base {
			v[n] = base[n]
		}
		v[name] = values
		return v
	}
	for _, tc := range []struct {
		name   string
		form   url.Values
		header []string
		want   error
	}{
		{"alone", base, nil, nil},
		{"with the client_id", with("client_id", k.id), nil, nil},
		{"with another client_id", with("client_id", "https://evil.example/c"), nil, ErrMalformed},
		{"with a secret", with("client_secret", "s"), nil, ErrMalformed},
		{"with Basic", base, []string{basic("a:s")}, ErrMalformed},
		{"twice", with("client_assertion", assertion, assertion), nil, ErrMalformed},
		{"without a type", with("client_assertion_type"), nil, ErrAuthentication},
		{"of another type", with("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), nil, ErrAuthentication},
		{"that is missing", with("client_assertion"), nil, ErrAuthentication},
		{"that is none", with("client_assertion", "x.y.z"), nil, ErrAuthentication},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := ParseCredentials(tokenRequest(tc.header...), tc.form)
			if !errors.Is(err, tc.want) {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			if err == nil && (c.ClientID != k.id || c.Assertion != assertion || c.Method != AuthPrivateKeyJWT) {
				t.Errorf("%q, %s", c.ClientID, c.Method)
			}
		})
	}
}

func FuzzParseCredentials(f *testing.F) {
	f.Add(basic("a:s"), "client_id=a")
	f.Add(basic("%61:%zz"), "client_id=a&client_secret=")
	f.Add("", "client_id=a&client_secret=s")
	f.Fuzz(func(t *testing.T, header, body string) {
		values, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		r := tokenRequest()
		if header != "" {
			r.Header["Authorization"] = []string{header}
		}
		c, err := ParseCredentials(r, values)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrAuthentication) {
				t.Fatalf("unexpected kind of error: %v", err)
			}
			return
		}
		if c.ClientID == "" || (c.Secret == "") != (c.Method == AuthNone) {
			t.Fatalf("id %q, method %s", c.ClientID, c.Method)
		}
		if header != "" && values.Get("client_secret") != "" {
			t.Fatal("two ways of authentication were accepted")
		}
	})
}
