package mcpauth

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterDirective("mcp_auth", parseDirective)
	// After basic_auth: rate limiters, which sort before it, still come first, and everything that
	// produces an answer comes later.
	httpcaddyfile.RegisterDirectiveOrder("mcp_auth", httpcaddyfile.After, "basic_auth")
	httpcaddyfile.RegisterGlobalOption("mcp_auth", parseGlobalOption)
}

// The words of a block, as error messages list them.
const (
	sharedWords = "oidc, github, local, dev, allow, authorization_server, token, allow_network, deny_network, clients, client, device_flow, id_jag, " +
		"store, key, access_token_lifetime, refresh_token_lifetime, grant_lifetime, refresh_grace, code_lifetime, login_lifetime, browser_session_lifetime, " +
		"recheck_interval, recheck_grace, client_lifetimes, identity_assertion, portal, " + guardWords
	siteWords = "issuer, name, resource, " + sharedWords + ", introspection_client"
)

// parseDirective sets up the handler from Caddyfile tokens. Syntax:
//
//	mcp_auth {
//	    issuer <url>
//	    name   <text>
//
//	    oidc <issuer> {
//	        client_id     <id>
//	        client_secret <{env.NAME} | {file./path}>
//	        ...
//	    }
//	    github {
//	        client_id     <id>
//	        client_secret <{env.NAME} | {file./path}>
//	        ...
//	    }
//	    local {
//	        user <email> <hash>
//	    }
//	    dev [<email>]
//
//	    authorization_server <issuer> {
//	        ...
//	    }
//	    token <name> {
//	        value {env.NAME} | {file./path}
//	        ...
//	    }
//	    allow_network <network...>
//	    deny_network  <network...>
//
//	    allow domain|email|group <value...>
//	    allow any
//
//	    resource <path> [<more paths...>] {
//	        name            <text>
//	        scopes          <scope...>
//	        challenge_scope <scope...>
//	        required_scope  <scope...>
//	        implies         <scope> <included scope...>
//	        allow           domain|email|group <value...>
//	        allow_network   <network...>
//	        deny_network    <network...>
//	        credentials     [oauth <url>] {
//	            ...
//	        }
//	    }
//
//	    clients {
//	        cimd         allow|deny <host...>
//	        registration off
//	        ...
//	    }
//	    client <id> {
//	        secret       <{env.NAME} | {file./path}>
//	        redirect_uri <uri...>
//	    }
//
//	    device_flow off
//	    id_jag <issuer> {
//	        client <id at the provider> <id here>
//	    }
//
//	    introspection_client <id> {
//	        secret   <{env.NAME} | {file./path}>
//	        resource <path>
//	    }
//
//	    store <module> [...]
//	    key   <secret...>
//
//	    access_token_lifetime    <duration>
//	    refresh_token_lifetime   <duration>
//	    grant_lifetime           <duration>
//	    refresh_grace            <duration>
//	    code_lifetime            <duration>
//	    login_lifetime           <duration>
//	    browser_session_lifetime <duration>
//	    recheck_interval         <duration>
//	    recheck_grace            <duration>
//
//	    portal <path>|off
//
//	    client_lifetimes <client id | host> {
//	        access_token_lifetime  <duration>
//	        refresh_token_lifetime <duration>
//	    }
//
//	    identity_assertion {
//	        header   <name>
//	        lifetime <duration>
//	    }
//
//	    streams {
//	        expiry_grace <duration>
//	        heartbeat    <duration>|off
//	        max_per_user <number>|off
//	        max          <number>|off
//	    }
//	    origins               <origin...>|loopback|self|*
//	    max_body              <size>|off
//	    max_bad_tokens        <number>|off
//	    max_requests_per_user <number>|off
//	    upgrades              [on|off]
//	}
//
// It takes no matcher: one would keep the metadata documents from being found.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	d := h.Dispenser
	d.Next() // consume the directive's name
	directive := *d
	if d.NextArg() {
		if arg := d.Val(); arg == "*" || strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "@") {
			return nil, d.Errf("mcp_auth takes no matcher, since it has to answer below /.well-known/ and /oauth2/ too; "+
				"to protect only some paths write them inside the block: mcp_auth { resource %s }", matcherPath(arg))
		}
		return nil, d.Errf("mcp_auth takes no argument %q; write the options in a block", d.Val())
	}
	handler := new(Handler)
	if err := handler.unmarshal(d); err != nil {
		return nil, err
	}
	var shared App
	if global, ok := h.Option("mcp_auth").(httpcaddyfile.App); ok {
		if err := caddy.StrictUnmarshalJSON(global.Value, &shared); err != nil {
			return nil, err
		}
	}
	if err := handler.checkSignIn(&shared); err != nil {
		return nil, directive.WrapErr(err)
	}
	return h.NewRoute(nil, handler), nil
}

// matcherPath is what to suggest instead of a matcher.
func matcherPath(matcher string) string {
	if strings.HasPrefix(matcher, "/") {
		return matcher
	}
	return "/path/*"
}

// unmarshal reads a site's block.
func (h *Handler) unmarshal(d *caddyfile.Dispenser) error {
	directive := *d
	for d.NextBlock(0) {
		switch d.Val() {
		case "issuer":
			if err := oneArg(d, &h.Issuer); err != nil {
				return err
			}
			if !strings.Contains(h.Issuer, "{") {
				if _, err := checkIssuer(h.Issuer); err != nil {
					return d.WrapErr(err)
				}
			}
		case "name":
			if err := oneArg(d, &h.Name); err != nil {
				return err
			}
		case "resource":
			resource, err := parseResource(d)
			if err != nil {
				return err
			}
			h.Resources = append(h.Resources, resource)
			if _, err := newResourceSet(noIssuer, h.Resources); err != nil {
				return d.WrapErr(err)
			}
		case "introspection_client":
			c, err := parseIntrospectionClient(d)
			if err != nil {
				return err
			}
			h.IntrospectionClients = append(h.IntrospectionClients, c)
		default:
			known, err := h.Options.unmarshalOption(d)
			if err != nil {
				return err
			}
			if !known {
				return d.Errf("unknown option %q; mcp_auth knows: %s", d.Val(), siteWords)
			}
		}
	}
	if _, err := h.Options.lifetimes(); err != nil {
		return directive.WrapErr(err)
	}
	if resources, err := newResourceSet(noIssuer, h.Resources); err == nil {
		if err := h.clearOfResources(resources, h.portalPath()); err != nil {
			return directive.WrapErr(err)
		}
	}
	return nil
}

// parseGlobalOption sets up the app from the global option of the same name, which holds defaults
// for all sites. Syntax as in a site, without issuer, name, resource and
// introspection_client.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("mcp_auth is given twice in the global options; join the two blocks")
	}
	d.Next() // consume the option's name
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	app := new(App)
	for d.NextBlock(0) {
		if slices.Contains([]string{"issuer", "name", "resource", "introspection_client"}, d.Val()) {
			return nil, d.Errf("%s belongs to one site; write it in the site's own mcp_auth block", d.Val())
		}
		known, err := app.Options.unmarshalOption(d)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, d.Errf("unknown option %q; mcp_auth in the global options knows: %s", d.Val(), sharedWords)
		}
	}
	if _, err := app.Options.lifetimes(); err != nil {
		return nil, d.WrapErr(err)
	}
	return httpcaddyfile.App{Name: "mcp_auth", Value: caddyconfig.JSON(app, nil)}, nil
}

// unmarshalOption reads one option that sites and the app share. It reports whether it knows it.
func (o *Options) unmarshalOption(d *caddyfile.Dispenser) (known bool, err error) {
	durations := map[string]*caddy.Duration{
		"access_token_lifetime":    &o.AccessTokenLifetime,
		"refresh_token_lifetime":   &o.RefreshTokenLifetime,
		"refresh_grace":            &o.RefreshGrace,
		"code_lifetime":            &o.CodeLifetime,
		"login_lifetime":           &o.LoginLifetime,
		"browser_session_lifetime": &o.BrowserSessionLifetime,
		"recheck_interval":         &o.RecheckInterval,
		"recheck_grace":            &o.RecheckGrace,
		"grant_lifetime":           &o.GrantLifetime,
	}
	name := d.Val()
	if target, ok := durations[name]; ok {
		return true, parseDuration(d, target)
	}
	switch name {
	case "allow":
		if o.Allow == nil {
			o.Allow = new(Allow)
		}
		return true, parseAllow(d, o.Allow)
	case "clients":
		if o.Clients == nil {
			o.Clients = new(Clients)
		}
		return true, parseClients(d, o.Clients)
	case "client":
		client, err := parseClient(d)
		o.KnownClients = append(o.KnownClients, client)
		return true, err
	case "id_jag":
		assertions, err := parseIDJAG(d)
		o.IDJAG = append(o.IDJAG, assertions)
		return true, err
	case "device_flow":
		o.DeviceFlowDisabled = true
		return true, parseOff(d)
	case "store":
		if o.StoreRaw != nil {
			return true, d.Err("store is given twice")
		}
		if !d.NextArg() {
			return true, d.Err("store needs the name of a store: caddy, redis or memory")
		}
		store := d.Val()
		if _, err := caddy.GetModule("mcp_auth.stores." + store); err != nil {
			return true, d.Errf("there is no store %s; write store caddy, store redis <url> or store memory", store)
		}
		module, err := caddyfile.UnmarshalModule(d, "mcp_auth.stores."+store)
		if err != nil {
			return true, err
		}
		o.StoreRaw = caddyconfig.JSONModuleObject(module, "store", store, nil)
		return true, nil
	case "portal":
		return true, parsePortal(d, &o.Portal)
	case "client_lifetimes":
		c, err := parseClientLifetimes(d)
		if err != nil {
			return true, err
		}
		o.ClientLifetimes = append(o.ClientLifetimes, c)
		return true, nil
	case "identity_assertion":
		if o.IdentityAssertion != nil {
			return true, d.Err("identity_assertion is given twice")
		}
		o.IdentityAssertion = new(IdentityAssertion)
		return true, parseIdentityAssertion(d, o.IdentityAssertion)
	case "key":
		keys := d.RemainingArgs()
		if len(keys) == 0 {
			return true, d.Err("key needs a secret of at least 32 bytes, as {file./path} or {env.NAME}")
		}
		o.Keys = append(o.Keys, keys...)
		return true, nil
	}
	if known, err := o.GuardOptions.unmarshalOption(d); known || err != nil {
		return known, err
	}
	if known, err := o.unmarshalProtection(d); known || err != nil {
		return known, err
	}
	if _, err := caddy.GetModule("mcp_auth.providers." + name); err != nil {
		return false, nil
	}
	module, err := caddyfile.UnmarshalModule(d, "mcp_auth.providers."+name)
	if err != nil {
		return true, err
	}
	o.ProvidersRaw = append(o.ProvidersRaw, caddyconfig.JSONModuleObject(module, "provider", name, nil))
	if err := checkProviderIDs(o.ProvidersRaw); err != nil {
		return true, d.WrapErr(err)
	}
	return true, nil
}
