package mcpauth

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// guardWords are the options of GuardOptions, as error messages list them.
const guardWords = "streams, origins, max_body, max_bad_tokens, max_requests_per_user, upgrades"

// unmarshalOption reads one option of the guard. It reports whether it knows it. Syntax:
//
//	streams {
//	    expiry_grace <duration>|off
//	    heartbeat    <duration>|off
//	    max_per_user <number>|off
//	    max          <number>|off
//	}
//	origins               <origin...>|loopback|self|*
//	max_body              <size>|off
//	max_bad_tokens        <number>|off
//	max_requests_per_user <number>|off
//	upgrades              [on|off]
func (o *GuardOptions) unmarshalOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "streams":
		if o.Streams != nil {
			return true, d.Err("streams is given twice; join the two blocks")
		}
		o.Streams = new(Streams)
		err = parseStreams(d, o.Streams)
	case "origins":
		err = someArgs(d, &o.Origins)
	case "max_body":
		err = parseMaxBody(d, &o.MaxBody)
	case "max_bad_tokens":
		err = parseLimit(d, &o.MaxBadTokens)
	case "max_requests_per_user":
		err = parseLimit(d, &o.MaxRequestsPerUser)
	case "upgrades":
		err = parseSwitch(d, &o.Upgrades)
	default:
		return false, nil
	}
	if err != nil {
		return true, err
	}
	if _, err := o.settings(); err != nil {
		return true, d.WrapErr(err)
	}
	return true, nil
}

func parseStreams(d *caddyfile.Dispenser, s *Streams) error {
	if d.NextArg() {
		return d.Err("streams takes a block: streams { expiry_grace ..., heartbeat ..., max_per_user ..., max ... }")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "expiry_grace":
			err = parseGrace(d, &s.ExpiryGrace)
		case "heartbeat":
			err = parseHeartbeat(d, &s.Heartbeat)
		case "max_per_user":
			err = parseLimit(d, &s.MaxPerUser)
		case "max":
			err = parseLimit(d, &s.Max)
		default:
			return d.Errf("unknown option %q; streams knows: expiry_grace, heartbeat, max_per_user, max", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseGrace reads a duration; off is none, which is the default.
func parseGrace(d *caddyfile.Dispenser, target *caddy.Duration) error {
	peek := *d
	if *target == 0 && peek.NextArg() && isOff(peek.Val()) {
		d.NextArg()
		return noArgs(d)
	}
	return parseDuration(d, target)
}

// isOff recognises the ways to write it where a duration could stand.
func isOff(word string) bool {
	duration, err := caddy.ParseDuration(word)
	return word == "off" || err == nil && duration == 0
}

func parseHeartbeat(d *caddyfile.Dispenser, target **caddy.Duration) error {
	if *target != nil {
		return d.Err("heartbeat is given twice")
	}
	var heartbeat caddy.Duration
	if err := parseGrace(d, &heartbeat); err != nil {
		return err
	}
	*target = &heartbeat
	return nil
}

// parseLimit reads a number, or off.
func parseLimit(d *caddyfile.Dispenser, target **int) error {
	name := d.Val()
	var text string
	if *target != nil {
		return d.Errf("%s is given twice", name)
	}
	if !d.AllArgs(&text) {
		return d.Errf("%s takes one number, or off", name)
	}
	n := 0
	if text != "off" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 {
			return d.Errf("%s: %q is no number; write a number, or off", name, text)
		}
	}
	*target = &n
	return nil
}

func parseMaxBody(d *caddyfile.Dispenser, target **int64) error {
	var text string
	if *target != nil {
		return d.Err("max_body is given twice")
	}
	if !d.AllArgs(&text) {
		return d.Err("max_body takes one size, such as 16MiB, or off")
	}
	var size int64
	if text != "off" {
		var err error
		if size, err = parseSize(text); err != nil {
			return d.Errf("max_body: %v, or off", err)
		}
	}
	*target = &size
	return nil
}

// parseSwitch reads a switch; its name alone turns it on.
func parseSwitch(d *caddyfile.Dispenser, target **bool) error {
	name := d.Val()
	if *target != nil {
		return d.Errf("%s is given twice", name)
	}
	args := d.RemainingArgs()
	on := len(args) == 0 || args[0] == "on"
	if len(args) > 1 || !on && args[0] != "off" {
		return d.Errf("%s is on or off", name)
	}
	*target = &on
	return nil
}
