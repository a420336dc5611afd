// Package metrics counts what the edge refuses, issues and holds open. It never labels by user, client or
// anything else that a stranger chooses: each label has a handful of values that the code names.
package metrics

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

const namespace, subsystem = "caddy", "mcp_auth"

// Collectors are the metrics of one process. They outlive configurations, each of which brings a registry
// of its own: Register them with every one, and no counter starts over at a reload.
type Collectors struct {
	refused *prometheus.CounterVec
	ended   *prometheus.CounterVec
	tokens  *prometheus.CounterVec
	signIns *prometheus.CounterVec
	open    prometheus.GaugeFunc
}

// New makes the collectors. openStreams tells how many streams are open; it must be quick.
func New(openStreams func() int) *Collectors {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: name, Help: help,
		}, []string{label})
	}
	return &Collectors{
		refused: counter("requests_refused_total", "Requests to protected resources that did not reach the upstream, by reason.", "reason"),
		ended:   counter("streams_ended_total", "Streams that ended, by cause.", "cause"),
		tokens:  counter("tokens_issued_total", "Access tokens issued, by grant type.", "grant_type"),
		signIns: counter("signins_total", "Sign-ins at the identity providers, by outcome.", "outcome"),
		open: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "streams_open", Help: "Streams open now.",
		}, func() float64 { return float64(openStreams()) }),
	}
}

// Register makes the collectors visible in a configuration's registry. Several handlers share one, so
// finding them there already is fine.
func (c *Collectors) Register(registry prometheus.Registerer) error {
	for _, collector := range []prometheus.Collector{c.refused, c.ended, c.tokens, c.signIns, c.open} {
		var known prometheus.AlreadyRegisteredError
		if err := registry.Register(collector); err != nil && !errors.As(err, &known) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// Refused counts a request that was turned away. reason is a constant of the code.
func (c *Collectors) Refused(reason string) { c.refused.WithLabelValues(reason).Inc() }

// StreamEnded counts a stream. cause is a constant of the code.
func (c *Collectors) StreamEnded(cause string) { c.ended.WithLabelValues(cause).Inc() }

// TokenIssued counts an access token. grantType is one that the token endpoint knows.
func (c *Collectors) TokenIssued(grantType string) { c.tokens.WithLabelValues(grantType).Inc() }

// Recorder returns a recorder that counts sign-ins and hands every event on.
func (c *Collectors) Recorder(next audit.Recorder) audit.Recorder { return recorder{c, next} }

type recorder struct {
	collectors *Collectors
	next       audit.Recorder
}

// Record implements audit.Recorder.
func (r recorder) Record(ctx context.Context, e audit.Event) {
	r.collectors.Decided(e)
	r.next.Record(ctx, e)
}

// Decided counts a decision. Those that a recorder is told of are counted already.
func (c *Collectors) Decided(e audit.Event) {
	if e.Type != audit.SignIn {
		return
	}
	outcome := "refused"
	if e.Allowed {
		outcome = "allowed"
	}
	c.signIns.WithLabelValues(outcome).Inc()
}

// Interface guard
var _ audit.Recorder = recorder{}
