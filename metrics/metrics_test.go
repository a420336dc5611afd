package metrics

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

type remembered []audit.Event

func (r *remembered) Record(_ context.Context, e audit.Event) { *r = append(*r, e) }

// text writes what a registry shows, one line per series.
func text(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			b.WriteString(family.GetName())
			for _, label := range metric.GetLabel() {
				b.WriteString(" " + label.GetName() + "=" + label.GetValue())
			}
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			b.WriteString(" " + strings.Repeat("|", int(value)) + "\n")
		}
	}
	return b.String()
}

func TestCountersSurviveAReload(t *testing.T) {
	open := 2
	c := New(func() int { return open })
	before, after := prometheus.NewPedanticRegistry(), prometheus.NewPedanticRegistry()
	for range 2 { // two sites of one configuration
		if err := c.Register(before); err != nil {
			t.Fatal(err)
		}
	}
	var next remembered
	record := c.Recorder(&next)
	c.Refused("no_token")
	c.Refused("no_token")
	c.StreamEnded("expired")
	c.TokenIssued("refresh_token")
	record.Record(t.Context(), audit.Event{Type: audit.SignIn, Allowed: true})
	if err := c.Register(after); err != nil {
		t.Fatal(err)
	}
	open = 1
	c.Refused("origin")
	record.Record(t.Context(), audit.Event{Type: audit.SignIn, Reason: "anything"})
	record.Record(t.Context(), audit.Event{Type: audit.Consent, Allowed: true})
	c.Decided(audit.Event{Type: audit.SignIn}) // counted, and not recorded

	const want = `caddy_mcp_auth_requests_refused_total reason=no_token ||
caddy_mcp_auth_requests_refused_total reason=origin |
caddy_mcp_auth_signins_total outcome=allowed |
caddy_mcp_auth_signins_total outcome=refused ||
caddy_mcp_auth_streams_ended_total cause=expired |
caddy_mcp_auth_streams_open |
caddy_mcp_auth_tokens_issued_total grant_type=refresh_token |
`
	if got := text(t, after); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(next) != 3 {
		t.Errorf("%d events were handed on, want 3", len(next))
	}
}

func TestAnotherMetricOfTheNameIsAnError(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "caddy_mcp_auth_streams_open", Help: "Another."}))
	if err := New(func() int { return 0 }).Register(registry); err == nil {
		t.Error("registered")
	}
}
