package main

import (
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/internal/quickstart"
)

const (
	demoUser   = "demo@example.com"
	demoListen = "localhost:8080"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "demo",
		Usage: "[--listen <addr>] [--password <password>] [--storage <dir>] [--verbose]",
		Short: "Runs an MCP server behind OAuth on this computer, to try it out",
		Long: `
Starts an MCP server and, in front of it, Caddy with mcp_auth and one local user.
Everything runs in this process and listens on loopback addresses only; nothing
else is needed. It prints the address, the user and the password, and how to add
the server to an MCP client.

The key ring and the sign-ins are kept in the user's cache directory, or where
--storage says, so that clients stay signed in over a restart.

The password is made anew at each start unless --password is given. Other users
of this computer may be able to read the arguments of a running program.`,
		Flags: demoFlags(),
		Func:  runDemo,
	})
}

func demoFlags() *flag.FlagSet {
	fs := flag.NewFlagSet("demo", flag.ExitOnError)
	fs.String("listen", demoListen, "The loopback address to listen on, host:port")
	fs.String("password", "", "The password of "+demoUser+" instead of a random one")
	fs.String("storage", "", "The directory to keep sign-ins in instead of the user's cache directory")
	fs.Bool("verbose", false, "Log everything instead of warnings only")
	return fs
}

func runDemo(fl caddycmd.Flags) (int, error) {
	if fl.NArg() > 0 {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("demo takes no argument %q; see caddy demo --help", fl.Arg(0))
	}
	d := demo{password: fl.String("password"), verbose: fl.Bool("verbose")}
	if err := d.prepare(fl.String("listen"), fl.String("storage")); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	upstream, err := startDemoServer()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	d.upstream = upstream
	config, err := d.config()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	return quickstart.Serve(config, func() { d.greet(os.Stdout) })
}

// demo is what one run of the command was asked for and has chosen.
type demo struct {
	address  quickstart.Address
	password string
	storage  string
	lasting  bool // whether storage outlives the process
	upstream string
	verbose  bool
}

func (d *demo) prepare(listen, storage string) error {
	var err error
	if d.address, err = quickstart.Loopback("--listen", listen); err != nil {
		return err
	}
	if d.password == "" {
		d.password = randomPassword()
	}
	d.storage, d.lasting, err = demoStorage(storage)
	return err
}

// randomPassword has 80 bits, in groups that can be typed.
func randomPassword() string {
	s := strings.ToLower(rand.Text())
	return strings.Join([]string{s[0:4], s[4:8], s[8:12], s[12:16]}, "-")
}

func (d *demo) greet(w io.Writer) {
	url := "http://" + d.address.String()
	keeps := "Clients stay signed in over a restart: state is kept in\n  " + d.storage
	if !d.lasting {
		keeps = "There is no cache directory: state is lost at the end, with\n  " + d.storage
	}
	fmt.Fprintf(w, `
An MCP server behind OAuth is running.

  Address   %[1]s/mcp   (Streamable HTTP)
            %[1]s/sse   (legacy HTTP+SSE)
  User      %[2]s
  Password  %[3]s

Add it to a client; a browser opens for the sign-in:

%[5]s
%[4]s

Press Ctrl-C to stop.
`, url, demoUser, d.password, keeps, quickstart.HowToConnect("demo", url+"/mcp"))
}
