package identity

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

const (
	// Bounds that keep one sign-in attempt from taking seconds or gigabytes.
	maxBcryptCost    = 16
	maxArgon2Memory  = 256 << 10 // KiB
	maxArgon2Time    = 16
	maxArgon2Threads = 16
	// maxBcryptPassword is all that bcrypt looks at.
	maxBcryptPassword = 72
)

// passwordHash is a parsed and checked password hash.
type passwordHash interface {
	matches(password string) bool
}

var errHash = errors.New("password hash is not one that \"caddy hash-password\" makes (bcrypt, or argon2id with --algorithm argon2id)")

// parseHash accepts the text of "caddy hash-password": bcrypt, or argon2id as a PHC string.
func parseHash(s string) (passwordHash, error) {
	switch {
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon2(s)
	case strings.HasPrefix(s, "$2a$"), strings.HasPrefix(s, "$2b$"), strings.HasPrefix(s, "$2y$"):
		return parseBcrypt(s)
	case strings.HasPrefix(s, "JDJ"):
		return nil, errors.New("password hash is base64-encoded; write it as \"caddy hash-password\" prints it, beginning with \"$2a$\"")
	}
	return nil, errHash
}

type bcryptHash []byte

func parseBcrypt(s string) (passwordHash, error) {
	// $2a$14$ and 53 characters of salt and hash.
	if len(s) != 60 || s[6] != '$' || !isDigit(s[4]) || !isDigit(s[5]) {
		return nil, errHash
	}
	for i := 7; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '.' && s[i] != '/' {
			return nil, errHash
		}
	}
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil {
		return nil, errHash
	}
	if cost > maxBcryptCost {
		return nil, fmt.Errorf("bcrypt cost %d would keep every sign-in waiting; use at most %d", cost, maxBcryptCost)
	}
	return bcryptHash(s), nil
}

// matches takes the same time whether the password is right or not. bcrypt ignores what follows
// the 72nd byte, so a longer password is none that was ever set.
func (h bcryptHash) matches(password string) bool {
	long := len(password) > maxBcryptPassword
	if long {
		password = password[:maxBcryptPassword]
	}
	err := bcrypt.CompareHashAndPassword(h, []byte(password))
	return err == nil && !long
}

type argon2Hash struct {
	time, memory uint32
	threads      uint8
	salt, key    []byte
}

// parseArgon2 reads "$argon2id$v=19$m=47104,t=1,p=1$salt$key" (RFC 9106, section 3.1, for the
// parameters).
func parseArgon2(s string) (passwordHash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, errHash
	}
	params := strings.Split(parts[3], ",")
	if len(params) != 3 {
		return nil, errHash
	}
	var values [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(params[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || n == 0 {
			return nil, errHash
		}
		values[i] = n
	}
	memory, time, threads := values[0], values[1], values[2]
	if memory > maxArgon2Memory || time > maxArgon2Time || threads > maxArgon2Threads {
		return nil, fmt.Errorf("argon2id parameters would keep every sign-in waiting; use at most m=%d,t=%d,p=%d",
			maxArgon2Memory, maxArgon2Time, maxArgon2Threads)
	}
	salt, saltErr := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	key, keyErr := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if saltErr != nil || keyErr != nil || len(salt) < 8 || len(salt) > 64 || len(key) < 16 || len(key) > 64 {
		return nil, errHash
	}
	return argon2Hash{uint32(time), uint32(memory), uint8(threads), salt, key}, nil
}

func (h argon2Hash) matches(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}
