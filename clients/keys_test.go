package clients

import (
	"errors"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[` + sampleKey + `,{"kty":"unheard-of"},{"kty":"oct","k":"AA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseKeys(body)
		if err != nil {
			if !errors.Is(err, errRefused) {
				t.Fatalf("unexpected kind of error: %v", err)
			}
			return
		}
		for _, alg := range AssertionAlgorithms() {
			for _, key := range keys.candidates(jose.Header{Algorithm: alg}) {
				if !key.IsPublic() || !key.Valid() {
					t.Fatalf("a key that cannot verify: %+v", key)
				}
			}
		}
	})
}
