package mcpauth

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// redisServers is what the addresses of a store say together.
type redisServers struct {
	addresses          []string // host:port
	secure             bool
	database           int
	username, password string
}

var errRedisAddress = errors.New("write redis://host:port, or rediss://host:port for TLS, with /<number> at the end for another database than 0")

// checkRedisAddress looks at an address whose placeholders are not resolved yet. No error shows an address: it may
// hold a password.
func checkRedisAddress(raw string) error {
	_, rest, _ := strings.Cut(raw, "://")
	if userinfo, _, ok := cutLast(rest, "@"); ok {
		if _, password, ok := strings.Cut(userinfo, ":"); ok && !isPlaceholder(password) {
			return errors.New(`the password in an address is not a placeholder; write redis://user:{env.NAME}@host:port, or "password {env.NAME}"`)
		}
	}
	if strings.Contains(raw, "{") {
		return nil
	}
	_, err := parseRedisAddress(raw, "6379")
	return err
}

// resolveRedisAddresses resolves placeholders and joins what the addresses say.
func resolveRedisAddresses(raw []string, defaultPort string) (*redisServers, error) {
	var joined *redisServers
	for _, address := range raw {
		text, err := resolveRedisAddress(address)
		if err != nil {
			return nil, err
		}
		one, err := parseRedisAddress(text, defaultPort)
		if err != nil {
			return nil, err
		}
		if joined == nil {
			joined = one
			continue
		}
		if one.secure != joined.secure || one.database != joined.database || one.username != joined.username || one.password != joined.password {
			return nil, errors.New("the addresses differ in more than host and port; give all of them the same scheme, user, password and database")
		}
		joined.addresses = append(joined.addresses, one.addresses...)
	}
	return joined, nil
}

var redisPlaceholder = regexp.MustCompile(`\{(env|file)\.[^{}]*\}`)

func resolveRedisAddress(raw string) (string, error) {
	text, err := caddy.NewReplacer().ReplaceOrErr(raw, true, true)
	if err == nil {
		return strings.TrimSpace(text), nil
	}
	for _, placeholder := range redisPlaceholder.FindAllString(raw, -1) {
		if _, err := secretValue(placeholder); err != nil {
			return "", fmt.Errorf("an address: %w", err)
		}
	}
	return "", errors.New("an address has a placeholder that stands for nothing; write {env.NAME} or {file./path}")
}

// parseRedisAddress reads an address without placeholders.
func parseRedisAddress(text, defaultPort string) (*redisServers, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "redis" && u.Scheme != "rediss") || u.Hostname() == "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return nil, fmt.Errorf("an address is none: %w; what is special to a URL in a password is percent-encoded", errRedisAddress)
	}
	s := &redisServers{secure: u.Scheme == "rediss"}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("an address has no port between 1 and 65535: %w", errRedisAddress)
	}
	s.addresses = []string{net.JoinHostPort(strings.ToLower(u.Hostname()), port)}
	if number := strings.TrimPrefix(u.Path, "/"); number != "" {
		if s.database, err = strconv.Atoi(number); err != nil || s.database < 0 || strconv.Itoa(s.database) != number {
			return nil, fmt.Errorf("an address ends with something that is no number of a database: %w", errRedisAddress)
		}
	}
	if u.User != nil {
		s.username = u.User.Username()
		var given bool
		if s.password, given = u.User.Password(); given && s.password == "" {
			return nil, errors.New("the password in an address is empty")
		}
	}
	return s, nil
}

// isPlaceholder reports whether s is one placeholder and nothing else.
func isPlaceholder(s string) bool {
	return len(s) > 2 && s[0] == '{' && strings.Index(s, "}") == len(s)-1 && strings.LastIndex(s, "{") == 0
}

// cutLast is strings.Cut around the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
