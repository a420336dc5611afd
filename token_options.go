package mcpauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
)

// Token is a token for a program that cannot sign in, such as a job of continuous integration. The
// upstream learns its name as user `token:<name>`; allow rules, which are about people, do not apply.
type Token struct {
	// What it is called, in logs and for the upstream.
	Name string `json:"name,omitempty"`

	// The token, as `{env.NAME}` or `{file./path}`, of at least 32 characters.
	Value string `json:"value,omitempty"`

	// Instead of the token, its SHA-256 in hexadecimal. Default: that of `value`.
	SHA256 string `json:"sha256,omitempty"`

	// The resources that it opens, by their paths. Default: all of the site.
	Resources []string `json:"resources,omitempty"`

	// The scopes that it has, where a resource has them. Default: all of the resource.
	Scopes []string `json:"scopes,omitempty"`

	// Where it may be used from, as in `allow_networks`. Default: wherever the resource may be.
	Networks []string `json:"networks,omitempty"`

	// When it ends: a date, which means its first moment in UTC, or a date and time of RFC 3339.
	// Default: never.
	Expires string `json:"expires,omitempty"`
}

// serviceToken is a Token with its placeholders resolved. What it opens depends on the site.
type serviceToken struct {
	config *Token
	token  access.ServiceToken
}

// check finds what is wrong with the token without resolving anything.
func (t *Token) check() error {
	if t == nil {
		return errors.New("an entry of tokens is null")
	}
	if !validName(t.Name) {
		return fmt.Errorf(`token %q: a name is 1 to 64 letters, digits, ".", "-" and "_"`, t.Name)
	}
	if err := t.checkValue(); err != nil {
		return fmt.Errorf("token %s: %w", t.Name, err)
	}
	if _, err := access.NewNetworks(t.Networks, nil); err != nil {
		// The option is another one here than where networks have one of their own.
		return fmt.Errorf("token %s: networks %s", t.Name, strings.TrimPrefix(err.Error(), "allow_network "))
	}
	if _, err := t.expiry(); err != nil {
		return fmt.Errorf("token %s: %w", t.Name, err)
	}
	return nil
}

func (t *Token) checkValue() error {
	switch {
	case t.Value == "" && t.SHA256 == "":
		return errors.New(`it has no value; write "value {env.NAME}", or "sha256 <hash>"`)
	case t.Value != "" && t.SHA256 != "":
		return errors.New("it has both value and sha256; keep one of them")
	case t.SHA256 != "":
		if _, err := access.ParseServiceTokenHash(t.SHA256); err != nil {
			return fmt.Errorf("sha256: %w", err)
		}
	case !strings.HasPrefix(t.Value, "{"):
		// A configuration is shown, copied and kept in places where no secret belongs.
		return errors.New(`value is not a placeholder; write "value {env.NAME}" or "value {file./path}", or the hash: "sha256 <hash>"`)
	}
	return nil
}

func (t *Token) expiry() (time.Time, error) {
	if t.Expires == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, t.Expires); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("expires %q is no date; write, for example, 2027-03-31 or 2027-03-31T18:00:00Z", t.Expires)
}

// resolve resolves placeholders.
func (t *Token) resolve() (*serviceToken, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	s := &serviceToken{config: t, token: access.ServiceToken{Name: t.Name}}
	var err error
	if t.SHA256 != "" {
		s.token.Hash, err = access.ParseServiceTokenHash(t.SHA256)
	} else {
		var value string
		if value, err = secretValue(t.Value); err == nil {
			s.token.Hash, err = access.HashServiceToken(value)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("token %s: value: %w", t.Name, err)
	}
	if s.token.Networks, err = access.NewNetworks(t.Networks, nil); err != nil {
		return nil, err
	}
	s.token.Expires, err = t.expiry()
	return s, err
}

// serviceTokens gives the tokens of a site what they open there. Nil means there are none.
func serviceTokens(tokens []*serviceToken, set *resourceSet) (*access.ServiceTokens, error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	all := make([]*access.ServiceToken, 0, len(tokens))
	for _, t := range tokens {
		token := t.token
		var err error
		if token.Resources, err = t.opens(set); err != nil {
			return nil, fmt.Errorf("token %s: %w", t.config.Name, err)
		}
		all = append(all, &token)
	}
	return access.NewServiceTokens(all)
}

// opens returns the resources that the token opens, each with the scope it has there.
func (t *serviceToken) opens(set *resourceSet) (map[string]string, error) {
	resources := set.all
	if len(t.config.Resources) > 0 {
		resources = nil
		for _, path := range t.config.Resources {
			r, err := set.named(path)
			if err != nil {
				return nil, err
			}
			resources = append(resources, r)
		}
	}
	unknown := slices.Clone(t.config.Scopes)
	opens := make(map[string]string, len(resources))
	for _, r := range resources {
		held := r.Scopes
		if len(t.config.Scopes) > 0 {
			held = nil
			for _, scope := range r.Scopes {
				if slices.Contains(t.config.Scopes, scope) {
					held = append(held, scope)
				}
			}
			unknown = slices.DeleteFunc(unknown, func(scope string) bool { return slices.Contains(held, scope) })
		}
		opens[r.URI] = strings.Join(held, " ")
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("no resource that it opens has the scope %s", unknown[0])
	}
	return opens, nil
}

// warnOfExpired tells of tokens that cannot be used any more. They are no reason not to start.
func warnOfExpired(tokens []*serviceToken, now time.Time, logger *zap.Logger) {
	for _, t := range tokens {
		if expires := t.token.Expires; !expires.IsZero() && !now.Before(expires) {
			logger.Warn("a service token has expired; remove it or give it a new value and date",
				zap.String("token", t.config.Name), zap.String("expires", t.config.Expires))
		}
	}
}

func validName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// parseToken reads a service token. Syntax:
//
//	token <name> {
//	    value    <{env.NAME} | {file./path}>
//	    sha256   <hash>
//	    resource <path...>
//	    scopes   <scope...>
//	    networks <network...>
//	    expires  <date>
//	}
func parseToken(d *caddyfile.Dispenser) (*Token, error) {
	t := new(Token)
	if !d.AllArgs(&t.Name) {
		return nil, d.Err("token takes a name and a block: token ci { value {env.CI_TOKEN} }")
	}
	directive := *d
	texts := map[string]*string{"value": &t.Value, "sha256": &t.SHA256, "expires": &t.Expires}
	lists := map[string]*[]string{"resource": &t.Resources, "scopes": &t.Scopes, "networks": &t.Networks}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		if target, ok := texts[d.Val()]; ok {
			err = oneArg(d, target)
		} else if target, ok := lists[d.Val()]; ok {
			err = someArgs(d, target)
		} else {
			err = d.Errf("unknown option %q; token knows: value, sha256, resource, scopes, networks, expires", d.Val())
		}
		if err != nil {
			return nil, err
		}
	}
	if err := t.check(); err != nil {
		return nil, directive.WrapErr(err)
	}
	return t, nil
}
