package mcpauth

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// oneArg reads the single argument of an option that is given once.
func oneArg(d *caddyfile.Dispenser, target *string) error {
	name := d.Val()
	if *target != "" {
		return d.Errf("%s is given twice", name)
	}
	if !d.AllArgs(target) || *target == "" {
		return d.Errf("%s takes one value", name)
	}
	return nil
}

func parseDuration(d *caddyfile.Dispenser, target *caddy.Duration) error {
	name := d.Val()
	var text string
	if *target != 0 {
		return d.Errf("%s is given twice", name)
	}
	if !d.AllArgs(&text) {
		return d.Errf("%s takes one duration, such as 1h or 30d", name)
	}
	value, err := caddy.ParseDuration(text)
	if err != nil || value < time.Second {
		example := "1h or 30d"
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			example = text + "s" // the unit is what is missing
		}
		return d.Errf("%s: %q is not a duration of at least 1s; write, for example, %s", name, text, example)
	}
	*target = caddy.Duration(value)
	return nil
}

// someArgs reads the arguments of an option that may be given several times.
func someArgs(d *caddyfile.Dispenser, target *[]string) error {
	name := d.Val()
	values := d.RemainingArgs()
	if len(values) == 0 {
		return d.Errf("%s needs a value", name)
	}
	*target = append(*target, values...)
	return nil
}

// noArgs makes sure that a word stands alone.
func noArgs(d *caddyfile.Dispenser) error {
	if name := d.Val(); d.NextArg() {
		return d.Errf("%s takes no value", name)
	}
	return nil
}
