package mcpauth

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/internal/quickstart"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name: "mcp-auth",
		Usage: "[--from <addr>] --to <addr> [--resource <path>] [--oidc <issuer> --client-id <id> " +
			"[--client-secret-file <path> | --client-secret-env <name>] --allow-domain <domain> | --allow-email <address> | ...] " +
			"[--access-log] [--verbose]",
		Short: "Puts OAuth in front of an MCP server, without a Caddyfile",
		Long: `
Puts OAuth 2.1 in front of an MCP server, as the mcp_auth directive does.

On a laptop nothing more is needed than where the server is:

    caddy mcp-auth --to localhost:3000

Clients that insist on OAuth then connect to http://localhost:8080 with nothing to
set up: every program on this computer that asks is let in as one fixed user, and
no other computer is answered.

With an OpenID Connect provider it serves others. A host name gets a certificate by
itself, for which ports 80 and 443 must be reachable from outside:

    caddy mcp-auth --from mcp.example.com --to localhost:3000 \
        --oidc https://accounts.google.com --client-id <id> \
        --client-secret-env OIDC_CLIENT_SECRET --allow-domain example.com

The client secret is read from a file or from the environment; arguments can be read
by other users of the computer, so there is no flag for the secret itself.

Keys and sessions are kept in Caddy's data directory.
`,
		CobraFunc: func(cmd *cobra.Command) {
			fs := cmd.Flags()
			fs.StringP("from", "f", "localhost:8080", "Address on which to receive traffic: one of this computer, or a host name")
			fs.StringSliceP("to", "t", nil, "Address of the MCP server; more than one share the load")
			fs.StringSlice("resource", nil, "Protect this path and all below it as a resource of its own; may be repeated (default: everything)")
			fs.String("oidc", "", "Sign people in at this OpenID Connect issuer")
			fs.String("client-id", "", "The client id that the provider gave out")
			fs.String("client-secret-file", "", "The file that holds the client secret")
			fs.String("client-secret-env", "", "The environment variable that holds the client secret")
			fs.StringSlice("allow-domain", nil, "Let in whoever has a verified e-mail address of this domain; may be repeated")
			fs.StringSlice("allow-email", nil, "Let in whoever has this verified e-mail address; may be repeated")
			fs.StringSlice("allow-group", nil, "Let in whoever is in this group at the provider; may be repeated")
			fs.Bool("allow-any", false, "Let in everyone with an account at the provider")
			fs.Bool("access-log", false, "Write the access log")
			fs.BoolP("verbose", "v", false, "Log everything")
			cmd.Args = cobra.NoArgs
			cmd.RunE = caddycmd.WrapCommandFuncForCobra(runEdge)
			cmd.AddCommand(keygenCommand())
		},
	})
}

// keygenCommand prints what the key option takes.
func keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen",
		Short: "Prints a new secret for the key option",
		Long: `
Prints 32 random bytes, in base64url, for the key option of mcp_auth. Write them to
a file that only Caddy can read, and give the option as {file./path}.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), newKey())
			return err
		},
	}
}

func newKey() string {
	var key [32]byte
	_, _ = rand.Read(key[:])
	return base64.RawURLEncoding.EncodeToString(key[:])
}

func runEdge(fs caddycmd.Flags) (int, error) {
	e, err := edgeOf(fs)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if err := e.check(); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if err := e.checkPorts(); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	caddyfile, err := e.caddyfile()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	return quickstart.Serve(caddyfile, func() { e.greet(os.Stdout) })
}

// edgeOf collects what the flags say.
func edgeOf(fs caddycmd.Flags) (*quickEdge, error) {
	for _, name := range []string{"from", "oidc", "client-id", "client-secret-file", "client-secret-env"} {
		if fs.Changed(name) && fs.String(name) == "" {
			// A variable that is not set must not turn a sign-in into development mode.
			return nil, fmt.Errorf("--%s is empty; give it a value or leave it out", name)
		}
	}
	e := &quickEdge{
		from: fs.String("from"), oidc: fs.String("oidc"), clientID: fs.String("client-id"),
		secretFile: fs.String("client-secret-file"), secretVariable: fs.String("client-secret-env"),
		allowAny: fs.Bool("allow-any"), accessLog: fs.Bool("access-log"), verbose: fs.Bool("verbose"),
	}
	for name, target := range map[string]*[]string{
		"to": &e.to, "resource": &e.resources,
		"allow-domain": &e.domains, "allow-email": &e.emails, "allow-group": &e.groups,
	} {
		var err error
		if *target, err = fs.GetStringSlice(name); err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
	}
	return e, nil
}

// greet says what runs and how to connect to it.
func (e *quickEdge) greet(w io.Writer) {
	path := "/mcp"
	if len(e.resources) > 0 {
		path = strings.TrimSuffix(strings.TrimSuffix(e.resources[0], "*"), "/")
	}
	who := fmt.Sprintf("Whoever signs in at %s has to match an allow rule. Register this redirect URL there:\n\n  %s/oauth2/callback", e.oidc, e.url())
	if e.develops() {
		who = "DEVELOPMENT MODE: every program on this computer that asks is let in as dev@example.com.\nOther computers are not answered."
	}
	fmt.Fprintf(w, `
OAuth is in front of %[1]s.

  Address   %[2]s

%[3]s

Add it to a client, with the path at which your server answers:

%[4]s
Press Ctrl-C to stop.
`, strings.Join(e.to, ", "), e.url()+path, who, quickstart.HowToConnect("tools", e.url()+path))
}
