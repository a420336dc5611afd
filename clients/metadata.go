package clients

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName      = 128 // characters
	maxClientURI = 256
)

// metadata is what is read of client metadata, whether registered (RFC 7591, section 2) or found in a
// document. All other members are ignored, as the RFC demands.
type metadata struct {
	name, uri    string
	redirectURIs []string
	grantTypes   []string
	authMethod   string // "" if absent
}

// readMetadata reads all of it but the redirect URIs, about which registrations and documents differ.
func readMetadata(o object) (metadata, error) {
	var m metadata
	var err error
	if m.name, err = o.text("client_name"); err != nil {
		return metadata{}, err
	}
	m.name = cleanName(m.name)
	if utf8.RuneCountInString(m.name) > maxName {
		return metadata{}, invalidMetadata("client_name is longer than " + strconv.Itoa(maxName) + " characters")
	}
	if m.uri, err = o.text("client_uri"); err != nil {
		return metadata{}, err
	}
	if !informationURI(m.uri) {
		m.uri = ""
	}
	if m.authMethod, err = o.text("token_endpoint_auth_method"); err != nil {
		return metadata{}, err
	}
	if m.grantTypes, err = readGrantTypes(o); err != nil {
		return metadata{}, err
	}
	// Only "code" exists here; what else a client lists, it will not use.
	_, err = o.texts("response_types")
	return m, err
}

func readRedirectURIs(o object, allowed schemes) ([]string, error) {
	uris, err := o.texts("redirect_uris")
	if err != nil {
		return nil, err
	}
	if len(uris) == 0 {
		// RFC 7591, section 2: flows with redirection need them.
		return nil, invalidRedirect("redirect_uris is missing or empty")
	}
	if len(uris) > maxRedirectURIs {
		return nil, invalidRedirect("redirect_uris has more than " + strconv.Itoa(maxRedirectURIs) + " entries")
	}
	kept := make([]string, 0, len(uris))
	for i, uri := range uris {
		if _, err := parseRedirect(uri, allowed); err != nil {
			return nil, invalidRedirect("redirect_uris[" + strconv.Itoa(i) + "] " + err.Error())
		}
		if !slices.Contains(kept, uri) {
			kept = append(kept, uri)
		}
	}
	return kept, nil
}

// readGrantTypes keeps the grant types that exist here. A list without refresh_token is respected; a
// client that has no list gets refresh tokens: the RFC's default would sign its users out with every
// access token, and the server may replace what was requested (RFC 7591, section 3.2.1).
func readGrantTypes(o object) ([]string, error) {
	requested, err := o.texts("grant_types")
	if err != nil {
		return nil, err
	}
	known := slices.ContainsFunc(requested, func(g string) bool { return g == GrantCode || g == GrantRefresh })
	// The device grant has to be asked for: it lets whoever names the client have a person answer for it.
	return grantTypes(!known || slices.Contains(requested, GrantRefresh), slices.Contains(requested, GrantDeviceCode)), nil
}

// deviceOnly reports whether a registration lists the device grant and no flow with redirection.
func deviceOnly(o object) bool {
	requested, err := o.texts("grant_types")
	return err == nil && slices.Contains(requested, GrantDeviceCode) && !slices.Contains(requested, GrantCode)
}

// cleanName drops what would let a name look like more than a name where it is shown: line breaks,
// invisible characters, reversal of the reading direction.
func cleanName(name string) string {
	printable := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, name)
	return strings.Join(strings.Fields(printable), " ")
}

// informationURI reports whether uri can be shown as the client's home page. It decides nothing, so
// what does not fit is left out rather than refused.
func informationURI(uri string) bool {
	if len(uri) > maxClientURI || !strings.HasPrefix(uri, "https://") {
		return false
	}
	u, err := url.Parse(uri)
	return err == nil && u.User == nil && publicHost(u.Hostname()) && checkRedirectText(uri) == nil
}
