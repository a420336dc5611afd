package mcpauth

import (
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/internal/quickstart"
)

// accessLog keeps codes and states out of the access log, as documented.
const accessLog = `	log {
		output stderr
		format filter {
			wrap console
			fields {
				request>uri query {
					replace code REDACTED
					replace state REDACTED
				}
				resp_headers>Location query {
					replace code REDACTED
					replace state REDACTED
				}
			}
		}
	}
`

// caddyfile is what somebody would write who wanted the same by hand. It names the secret's place,
// never the secret.
func (e *quickEdge) caddyfile() (string, error) {
	c := new(composer)
	c.line(0, "{")
	for _, option := range []string{"admin off", "persist_config off", "grace_period 2s"} {
		c.line(1, option)
	}
	if !e.public() {
		c.line(1, "auto_https off")
	}
	c.line(1, "log {")
	c.line(2, "output stderr")
	c.line(2, "format console")
	switch {
	case e.verbose:
		c.line(2, "level DEBUG")
	case e.public():
		c.line(2, "level INFO")
	default:
		c.line(2, "level WARN")
		c.line(2, "exclude admin") // which warns that it is off, as it should be
	}
	c.line(1, "}")
	c.line(0, "}")

	if e.public() {
		c.line(0, e.host+":"+e.port+" {")
	} else {
		// Without a host in its address, so that who comes by another one is told why not.
		c.line(0, "http://:"+e.local.Port+" {")
		c.line(1, e.local.Bind())
	}
	if e.accessLog {
		c.text.WriteString(accessLog)
	}
	c.line(1, "mcp_auth {")
	if e.develops() {
		c.line(2, "dev")
	} else {
		e.writeSignIn(c)
	}
	for _, path := range e.resources {
		c.line(2, "resource", c.tokens("--resource", path))
	}
	c.line(1, "}")
	c.line(1, "reverse_proxy", c.tokens("--to", e.to...), "{")
	// MCP servers on loopback refuse hosts that are not theirs, against DNS rebinding (MCP Streamable
	// HTTP transport, "Security Warning"). Here that is decided already.
	c.line(2, "header_up Host {upstream_hostport}")
	c.line(1, "}")
	c.line(0, "}")
	return c.text.String(), c.err
}

func (e *quickEdge) writeSignIn(c *composer) {
	c.line(2, "oidc", c.tokens("--oidc", e.oidc), "{")
	c.line(3, "client_id", c.tokens("--client-id", e.clientID))
	switch {
	case e.secretVariable != "":
		c.line(3, "client_secret {env."+e.secretVariable+"}")
	case e.secretFile != "":
		c.tokens("--client-secret-file", e.secretFile) // fit to stand within a token, too
		c.line(3, "client_secret", "`{file."+e.secretFile+"}`")
	}
	c.line(2, "}")
	if e.allowAny {
		c.line(2, "allow any")
	}
	for _, rule := range []struct {
		kind   string
		values []string
	}{{"domain", e.domains}, {"email", e.emails}, {"group", e.groups}} {
		if len(rule.values) > 0 {
			c.line(2, "allow", rule.kind, c.tokens("--allow-"+rule.kind, rule.values...))
		}
	}
}

// composer writes a Caddyfile, and remembers the first value that does not fit into one.
type composer struct {
	text strings.Builder
	err  error
}

func (c *composer) line(depth int, words ...string) {
	c.text.WriteString(strings.Repeat("\t", depth))
	c.text.WriteString(strings.Join(words, " "))
	c.text.WriteByte('\n')
}

// tokens are the values of a flag, each of which stands for nothing but itself.
func (c *composer) tokens(flag string, values ...string) string {
	tokens := make([]string, 0, len(values))
	for _, value := range values {
		token, err := quickstart.Token(flag, value)
		if err != nil && c.err == nil {
			c.err = err
		}
		tokens = append(tokens, token)
	}
	return strings.Join(tokens, " ")
}
