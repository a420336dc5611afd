package authserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// validChallenge checks the form of an S256 code challenge: the unpadded base64url of a SHA-256
// (RFC 7636, section 4.2).
func validChallenge(challenge string) bool {
	if len(challenge) != 43 {
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	return err == nil
}

// verifierMatches checks a code verifier against the challenge of the authorization request
// (RFC 7636, section 4.6). The length bounds of section 4.1 keep short guesses out.
func verifierMatches(verifier, challenge string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	computed := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(computed), []byte(challenge)) == 1
}
