package clients

import (
	"crypto/rsa"
	"errors"
	"math/big"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Verifying with an RSA key of 40,000 bits, which fits into a document, takes a tenth of a second. Nobody
// needs one, and strangers choose their keys.
func TestAnRSAKeyIsOfReasonableSize(t *testing.T) {
	for bits, want := range map[uint]int{2047: 0, 2048: 1, 4096: 1, 4097: 0, 40_000: 0} {
		modulus := new(big.Int).Lsh(big.NewInt(1), bits-1)
		keys := keySet{{Key: &rsa.PublicKey{N: modulus.SetBit(modulus, 0, 1), E: 1<<31 - 1}}}
		for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256} {
			if got := keys.candidates(jose.Header{Algorithm: string(alg)}); len(got) != want {
				t.Errorf("%s with %d bits: %d keys can verify, want %d", alg, bits, len(got), want)
			}
		}
	}
}

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
