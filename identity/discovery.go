package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// discoveryLife is after which time the discovery document is fetched again. The old one is used
// until the new one has arrived: its endpoints hardly ever change, and signing in should not fail
// because this document cannot be had for a moment.
const discoveryLife = 24 * time.Hour

// metadata are the members of the discovery document that are used (OpenID Connect Discovery 1.0,
// section 3; OpenID Connect RP-Initiated Logout 1.0, section 2.1; RFC 9207, section 3).
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserInfoEndpoint      string   `json:"userinfo_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	SendsIssuer           bool     `json:"authorization_response_iss_parameter_supported"`

	keys *keySet
}

// metadata returns the provider's metadata, from memory except for the first time.
func (o *OIDC) metadata(ctx context.Context) (*metadata, error) {
	e, err := o.discovery.get(ctx, anyAge)
	if err != nil {
		return nil, fmt.Errorf("%w: reading the discovery document of %s: %w", ErrUnavailable, o.config.Issuer, err)
	}
	if o.config.Now().Sub(e.at) > discoveryLife {
		o.discovery.renew(ctx, discoveryLife)
	}
	return e.value, nil
}

// discover fetches and checks the discovery document.
func (o *OIDC) discover(ctx context.Context) (*metadata, error) {
	md := new(metadata)
	// OpenID Connect Discovery 1.0, section 4.1: a trailing slash is removed first.
	where := strings.TrimSuffix(o.config.Issuer, "/") + "/.well-known/openid-configuration"
	if err := fetchJSON(ctx, o.client, where, "", md); err != nil {
		return nil, err
	}
	if err := md.check(o.config.Issuer); err != nil {
		return nil, err
	}
	// The keys stay if their address does: forgetting them would fetch them once more.
	if old := o.discovery.last().value; old != nil && old.JWKSURI == md.JWKSURI {
		md.keys = old.keys
	} else {
		md.keys = o.newKeySet(md.JWKSURI)
	}
	return md, nil
}

// check refuses a document of another issuer, and one that would send secrets or people over
// plain HTTP.
func (md *metadata) check(issuer string) error {
	switch {
	case md.Issuer == issuer:
	case strings.TrimSuffix(md.Issuer, "/") == strings.TrimSuffix(issuer, "/"):
		return errors.New("its issuer differs from the configured one by a trailing slash; write the issuer exactly as the provider does")
	default:
		// OpenID Connect Discovery 1.0, section 4.3: it must be identical.
		return errors.New("its issuer is not the configured one")
	}
	for _, endpoint := range []struct {
		name, url string
		optional  bool
	}{
		{"authorization_endpoint", md.AuthorizationEndpoint, false},
		{"token_endpoint", md.TokenEndpoint, false},
		{"jwks_uri", md.JWKSURI, false},
		{"userinfo_endpoint", md.UserInfoEndpoint, true},
	} {
		if endpoint.optional && endpoint.url == "" {
			continue
		}
		if err := checkURL(endpoint.url, strings.HasPrefix(issuer, "http:")); err != nil {
			return fmt.Errorf("its %s %w", endpoint.name, err)
		}
	}
	// Signing out does without it; that is no reason to keep people from signing in.
	if checkURL(md.EndSessionEndpoint, strings.HasPrefix(issuer, "http:")) != nil {
		md.EndSessionEndpoint = ""
	}
	return nil
}

// checkURL accepts https URLs, and http ones on loopback if plain is true.
func checkURL(s string, plain bool) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return errors.New("is missing")
	case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" || !printableASCII(s):
		return errors.New("is not a usable URL")
	case u.Scheme == "https", u.Scheme == "http" && plain && loopback(u.Hostname()):
		return nil
	}
	return errors.New("is not an https URL")
}

// loopback reports whether host is this machine and can be nothing else (RFC 6761, section 6.3).
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// authStyle picks how the client authenticates at the token endpoint. Basic is what a provider
// that lists nothing supports (OpenID Connect Discovery 1.0, section 3).
func (md *metadata) authStyle(secret string) oauth2.AuthStyle {
	if secret == "" || slices.Contains(md.AuthMethods, "client_secret_post") &&
		!slices.Contains(md.AuthMethods, "client_secret_basic") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}
