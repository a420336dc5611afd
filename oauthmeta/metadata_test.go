package oauthmeta

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// Clients check documents against strict schemas, in which null is neither a string nor a list: one
// null member and they report that there is no metadata at all.
func TestNoDocumentHasNull(t *testing.T) {
	for _, tc := range []struct {
		name string
		doc  any
	}{
		{"an empty resource", ProtectedResource{}},
		{"an empty server", AuthorizationServer{}},
		{"an empty OpenID alias", AuthorizationServer{}.OpenID()},
		{"empty lists", ProtectedResource{ScopesSupported: []string{}, AuthorizationServers: []string{}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body, err := json.Marshal(tc.doc)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(body), "null") || strings.Contains(string(body), "[]") {
				t.Errorf("empty members in %s", body)
			}
		})
	}
}

// Every member but the identifier is optional, and must vanish when unset.
func TestMembersAreOmittedWhenEmpty(t *testing.T) {
	for _, doc := range []any{ProtectedResource{}, AuthorizationServer{}} {
		typ := reflect.TypeOf(doc)
		for i := range typ.NumField() {
			tag := typ.Field(i).Tag.Get("json")
			if tag != "issuer" && tag != "resource" && !strings.HasSuffix(tag, ",omitempty") {
				t.Errorf("%s.%s has the tag %q", typ.Name(), typ.Field(i).Name, tag)
			}
		}
	}
}

func TestOpenIDAlias(t *testing.T) {
	server := AuthorizationServer{Issuer: "https://a.example", JWKSURI: "https://a.example/jwks", CodeChallengeMethodsSupported: []string{"S256"}}
	alias := marshalled(t, server.OpenID())
	for _, member := range []string{"issuer", "jwks_uri", "subject_types_supported", "id_token_signing_alg_values_supported", "code_challenge_methods_supported"} {
		if _, ok := alias[member]; !ok {
			t.Errorf("the alias lacks %s", member)
		}
	}
	plain := marshalled(t, server)
	for _, member := range []string{"subject_types_supported", "id_token_signing_alg_values_supported"} {
		if _, ok := plain[member]; ok {
			t.Errorf("the RFC 8414 document has %s", member)
		}
	}
}

func marshalled(t testing.TB, doc any) map[string]any {
	t.Helper()
	body, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatal(err)
	}
	return members
}
