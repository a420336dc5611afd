package identity

import (
	"encoding/base64"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// argon2Text is what "caddy hash-password --algorithm argon2id" prints, with smaller parameters.
func argon2Text(password string) string {
	salt := []byte("0123456789abcdef")
	b64 := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=8,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte(password), salt, 1, 8, 1, 32))
}

func bcryptText(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// bcrypt does not look at what follows the 72nd byte.
func TestAPasswordThatIsRightForBcryptOnly(t *testing.T) {
	password := strings.Repeat("p", 72)
	h, err := parseHash(bcryptText(t, password))
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches(password) || h.matches(password+"x") || h.matches(password[:71]) {
		t.Error("72 bytes must match, 73 and 71 must not")
	}
}

func TestHashesOfCaddy(t *testing.T) {
	for _, tc := range []struct{ name, hash string }{
		// Printed by "caddy hash-password --plaintext antitiming".
		{"argon2id", "$argon2id$v=19$m=47104,t=1,p=1$P2nzckEdTZ3bxCiBCkRTyA$xQL3Z32eo5jKl7u5tcIsnEKObYiyNZQQf5/4sAau6Pg"},
		{"bcrypt", bcryptText(t, "antitiming")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, err := parseHash(tc.hash)
			if err != nil || !h.matches("antitiming") || h.matches("antitiminh") {
				t.Errorf("got %v, %v", h, err)
			}
		})
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(argon2Text("p"))
	f.Add("$argon2id$v=19$m=1,t=1,p=255$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5")
	f.Add("$2a$04$abcdefghijklmnopqrstuuKJzCzmXFS2.f8WBOS0cUW5EeWZgcJea")
	f.Add("$2y$31$" + strings.Repeat("/", 53))
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err != nil {
			return
		}
		switch h := h.(type) {
		case bcryptHash:
			if cost, err := bcrypt.Cost(h); err != nil || cost > maxBcryptCost {
				t.Errorf("accepted cost %d, %v", cost, err)
			}
		case argon2Hash:
			if h.memory > maxArgon2Memory || h.time == 0 || h.time > maxArgon2Time || h.threads == 0 || len(h.key) < 16 {
				t.Errorf("accepted %+v", h)
			}
		}
	})
}
