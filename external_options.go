package mcpauth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// AuthorizationServer is an authorization server that somebody else runs, and whose access tokens are
// accepted. This site then issues none itself: its metadata send clients there, or to this site with a
// facade.
//
// The authorization server is first asked when somebody comes with a token of it; one that is down
// does not keep Caddy from starting.
type AuthorizationServer struct {
	// The issuer identifier, exactly as it stands in tokens and in the issuer's metadata.
	Issuer string `json:"issuer,omitempty"`

	// Values of the `aud` claim that are accepted in addition to the resource's own identifier, at
	// every resource of the site. Default: none.
	Audiences []string `json:"audiences,omitempty"`

	// Accept tokens without any `aud`, from issuers that write none. Needs required_scopes. Default:
	// `false`.
	AllowMissingAudience bool `json:"allow_missing_audience,omitempty"`

	// The address of the key set that JWTs are signed with. Default: as the issuer's metadata say
	// (RFC 8414 or OpenID Connect Discovery).
	JWKS string `json:"jwks,omitempty"`

	// Where to ask the issuer about tokens (RFC 7662). Needed for tokens that are no JWTs. Without
	// jwks it is asked about JWTs too, so that the issuer can end one before its time. Answers are
	// kept for a minute at most. Default: only JWTs are accepted.
	Introspection *Introspection `json:"introspection,omitempty"`

	// Signature algorithms accepted in JWTs. Default: `RS256 PS256 ES256 EdDSA`.
	Algorithms []string `json:"algorithms,omitempty"`

	// Accept only JWTs whose `typ` says that they are access tokens (RFC 9068). Default: `false`.
	RequireAccessTokenType bool `json:"require_at_jwt,omitempty"`

	// The scopes that a token needs for everything here. Default: none.
	RequiredScopes []string `json:"required_scopes,omitempty"`

	// The claim with the scopes. Default: `scope`, else `scp`.
	ScopesClaim string `json:"scopes_claim,omitempty"`

	// The claim that identifies the person. Default: `sub`.
	SubjectClaim string `json:"subject_claim,omitempty"`

	// The claim with the e-mail address. Default: `email`.
	EmailClaim string `json:"email_claim,omitempty"`

	// The claim that says whether the address is verified. Default: `email_verified`.
	EmailVerifiedClaim string `json:"email_verified_claim,omitempty"`

	// Take every e-mail address for verified. Only for issuers where people cannot choose their
	// address themselves. Default: `false`.
	TrustUnverifiedEmail bool `json:"trust_unverified_email,omitempty"`

	// The claim with the groups; a path such as `realm_access.roles` leads to one further down.
	// Default: `groups`.
	GroupsClaim string `json:"groups_claim,omitempty"`

	// The claim with the client's id. Default: the first of `client_id`, `azp`, `cid` and `appid`
	// that there is.
	ClientClaim string `json:"client_claim,omitempty"`

	// Let MCP clients register at this site, where they cannot at the authorization server, and send
	// them on with one client. Default: clients go to the authorization server themselves.
	Facade *Facade `json:"facade,omitempty"`
}

// Introspection is an endpoint to ask about tokens.
type Introspection struct {
	// Its address.
	URL string `json:"url,omitempty"`

	// The client as which this edge asks. Default: none; for an endpoint that nobody else can reach.
	ClientID string `json:"client_id,omitempty"`

	// Its secret, as `{env.NAME}` or `{file./path}`. Default: none.
	ClientSecret string `json:"client_secret,omitempty"`

	// Instead, a bearer token, as `{env.NAME}` or `{file./path}`. Default: none.
	BearerToken string `json:"bearer_token,omitempty"`
}

// check finds credentials that lack a half. None at all are for an endpoint that nobody else can reach, such
// as the administrative one of Ory Hydra.
func (i *Introspection) check() error {
	switch {
	case i == nil:
		return nil
	case i.ClientID == "" && i.ClientSecret != "":
		return errors.New(`introspection: client_id is missing; write "client_id <id>", or bearer_token in place of both`)
	case i.ClientID != "" && i.ClientSecret == "":
		return errors.New(`introspection: client_secret is missing; write "client_secret {env.NAME}", or bearer_token in place of both`)
	}
	return nil
}

// check finds what is wrong without resolving placeholders.
func (a *AuthorizationServer) check() error {
	if a == nil {
		return errors.New("an entry of authorization_servers is null")
	}
	if err := a.Facade.check(a.Issuer); err != nil {
		return fmt.Errorf("authorization_server %s: %w", a.Issuer, err)
	}
	if err := a.Introspection.check(); err != nil {
		return fmt.Errorf("authorization_server %s: %w", a.Issuer, err)
	}
	if strings.Contains(a.Issuer+a.JWKS, "{") {
		return nil // known in Provision
	}
	config := a.config()
	if i := a.Introspection; i != nil {
		if strings.Contains(i.URL, "{") {
			return nil
		}
		config.Introspection = &external.Introspection{URL: i.URL, ClientID: i.ClientID, ClientSecret: i.ClientSecret, BearerToken: i.BearerToken}
	}
	_, err := external.New(config)
	return err
}

// resolve makes the server. It does no I/O.
func (a *AuthorizationServer) resolve() (*external.Server, error) {
	if a == nil {
		return nil, errors.New("an entry of authorization_servers is null")
	}
	if err := a.Introspection.check(); err != nil {
		return nil, fmt.Errorf("authorization_server %s: %w", a.Issuer, err)
	}
	repl := caddy.NewReplacer()
	config := a.config()
	config.Issuer, config.JWKS = repl.ReplaceAll(a.Issuer, ""), repl.ReplaceAll(a.JWKS, "")
	if i := a.Introspection; i != nil {
		resolved := &external.Introspection{URL: repl.ReplaceAll(i.URL, "")}
		for _, secret := range []struct {
			name, value string
			target      *string
		}{
			{"client_id", i.ClientID, &resolved.ClientID},
			{"client_secret", i.ClientSecret, &resolved.ClientSecret},
			{"bearer_token", i.BearerToken, &resolved.BearerToken},
		} {
			if secret.value == "" {
				continue
			}
			var err error
			if *secret.target, err = secretValue(secret.value); err != nil {
				return nil, fmt.Errorf("authorization_server %s: introspection %s: %w", config.Issuer, secret.name, err)
			}
		}
		config.Introspection = resolved
	}
	return external.New(config)
}

func (a *AuthorizationServer) config() external.Config {
	return external.Config{
		Issuer: a.Issuer, Audiences: a.Audiences, AllowMissingAudience: a.AllowMissingAudience, JWKS: a.JWKS,
		Algorithms: a.Algorithms, RequireAccessTokenType: a.RequireAccessTokenType,
		Names: identity.ClaimNames{
			Subject: a.SubjectClaim, Email: a.EmailClaim, EmailVerified: a.EmailVerifiedClaim, Groups: a.GroupsClaim,
			TrustUnverifiedEmail: a.TrustUnverifiedEmail,
		},
		ScopesClaim: a.ScopesClaim, ClientClaim: a.ClientClaim, RequiredScopes: a.RequiredScopes,
	}
}

// externalServers makes the authorization servers of somebody else. Nil means there are none.
func externalServers(configured []*AuthorizationServer) (external.Servers, error) {
	if len(configured) == 0 {
		return nil, nil
	}
	servers := make([]*external.Server, 0, len(configured))
	for _, a := range configured {
		s, err := a.resolve()
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return external.NewServers(servers)
}
