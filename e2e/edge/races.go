package edge

import "strings"

// raceOptions let an edge end as it would without the race detector: what that has found is read in the log.
const raceOptions = "GORACE=halt_on_error=0 exitcode=0"

// races returns the reports of the race detector in a log, but for the one race that Caddy 2.11.8 has of
// its own in every site with TLS: apps start one after the other, and the HTTP app has the TLS app manage
// certificates, whose events name that app, while the TLS app's Start still writes to it.
func races(log string) (found []string) {
	const begins, ends = "WARNING: DATA RACE", "=================="
	for {
		start := strings.Index(log, begins)
		if start < 0 {
			return found
		}
		report, rest, _ := strings.Cut(log[start:], ends)
		if !caddysOwn(report) {
			found = append(found, report)
		}
		log = rest
	}
}

// caddysOwn recognises that race: the app's name read for an event, and written by its start, in this order.
func caddysOwn(report string) bool {
	read, write, ok := strings.Cut(report, "Previous write at ")
	return ok && strings.Contains(read, "Read at ") && strings.Contains(read, "caddytls.(*TLS).CaddyModule()") &&
		strings.Contains(read, "caddyevents.(*App).Emit()") && strings.Contains(write, "caddytls.(*TLS).Start()")
}
