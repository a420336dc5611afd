// Command bench compares Caddy with and without mcp_auth: the same binary, side by side in one run.
// It prints one row per scenario and exits with an error when a request failed that should not.
//
//	go -C bench run .                  # everything, about an hour
//	go -C bench run . -only post,401   # some scenarios
//	go -C bench run . -quick           # short slices, to see that it works
//
// Only ratios within one run mean anything: absolute numbers move with the machine's mood. Every ratio
// is measured with a guarded edge and two plain ones, in turns and together; the second plain one tells
// what a ratio of 1 looks like here. The edges run on the first processor and everything else on the
// others, if taskset is there.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// settings is what a run was asked for.
type settings struct {
	quick       bool
	comparisons int           // per ratio
	slice       time.Duration // of load within a round
	caddy       string        // the binary
	hold        time.Duration // for which many streams are held
}

// scenario measures one thing and returns its rows.
type scenario struct {
	name string
	run  func(ctx context.Context, s *settings) ([]row, error)
}

var scenarios = []scenario{
	{"handler", handlerAlone},
	{"post", posts},
	{"tokens", manyTokens},
	{"resources", manyResources},
	{"401", refusals},
	{"tls", overTLS},
	{"streams", idleStreams},
	{"events", bigEvents},
	{"hold", heldStreams},
	{"growth", growth},
	{"refresh", refreshes},
}

func main() {
	log.SetFlags(log.Ltime)
	if len(os.Args) > 1 && os.Args[1] == upstreamCommand {
		runUpstream()
		return
	}
	var s settings
	only := flag.String("only", "", "comma-separated scenarios instead of all: "+strings.Join(names(), ","))
	flag.BoolVar(&s.quick, "quick", false, "short slices and few comparisons: shows that it works, measures nothing")
	flag.StringVar(&s.caddy, "caddy", "", "the binary to measure instead of building cmd/caddy")
	flag.DurationVar(&s.hold, "hold", 10*time.Minute, "how long to hold many streams")
	flag.Parse()
	s.comparisons, s.slice = 12, 2*time.Second
	if s.quick {
		s.comparisons, s.slice = 2, 300*time.Millisecond
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &s, *only); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s *settings, only string) error {
	chosen := scenarios
	if only != "" {
		chosen = nil
		for _, name := range strings.Split(only, ",") {
			i := slices.IndexFunc(scenarios, func(c scenario) bool { return c.name == name })
			if i < 0 {
				return fmt.Errorf("there is no scenario %q; there are %s", name, strings.Join(names(), ", "))
			}
			chosen = append(chosen, scenarios[i])
		}
	}
	if s.caddy == "" {
		binary, err := buildCaddy(ctx)
		if err != nil {
			return err
		}
		defer os.RemoveAll(binary.dir)
		s.caddy = binary.path
	}
	keepOffFirstProcessor()
	var rows []row
	for _, c := range chosen {
		log.Printf("%s ...", c.name)
		measured, err := c.run(ctx, s)
		if err != nil {
			return fmt.Errorf("scenario %s: %w", c.name, err)
		}
		for i := range measured {
			measured[i].scenario = c.name
			log.Print(measured[i])
		}
		rows = append(rows, measured...)
	}
	printTable(os.Stdout, rows)
	return nil
}

func names() []string {
	all := make([]string, len(scenarios))
	for i, c := range scenarios {
		all[i] = c.name
	}
	return all
}
