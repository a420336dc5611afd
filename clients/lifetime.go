package clients

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	minLifetime     = time.Minute
	maxLifetime     = 24 * time.Hour
	defaultLifetime = time.Hour // for answers that say nothing
	failureLifetime = 30 * time.Second
)

// lifetime is how long an answer may be used by the rules of HTTP (RFC 9111, section 4.2), within
// bounds: a document that may not be stored would otherwise be fetched with each request, and one
// that may be stored forever could never change.
func lifetime(h http.Header, now time.Time) time.Duration {
	life, said := maxAge(h)
	if !said {
		expires, err := http.ParseTime(h.Get("Expires"))
		switch {
		case err == nil:
			life = expires.Sub(now)
		case h.Get("Expires") != "":
			// RFC 9111, section 5.3: an invalid date, such as "0", is in the past.
			life = 0
		default:
			life = defaultLifetime
		}
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		life -= time.Duration(age) * time.Second
	}
	return min(max(life, minLifetime), maxLifetime)
}

// maxAge returns what Cache-Control allows a shared cache, and whether it says anything.
func maxAge(h http.Header) (life time.Duration, said bool) {
	shared := false
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name = strings.ToLower(name); name {
		case "no-store", "no-cache":
			return 0, true
		case "max-age", "s-maxage":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil {
				return 0, true
			}
			// RFC 9111, section 5.2.2.10: s-maxage overrides max-age for a cache that serves many.
			if name == "s-maxage" || !shared {
				life, said, shared = time.Duration(seconds)*time.Second, true, name == "s-maxage"
			}
		}
	}
	return life, said
}
