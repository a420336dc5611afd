package edge

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Metric reads one series of Caddy's metrics, such as `caddy_mcp_auth_streams_open`, from the admin
// endpoint; 0 if there is none yet.
func (e *Edge) Metric(series string) float64 {
	e.t.Helper()
	resp, err := e.ask("/metrics")
	if err != nil {
		e.t.Errorf("reading metrics: %v", err)
		return 0
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Errorf("reading metrics: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				e.t.Errorf("reading metric %s: %v", series, err)
			}
			return value
		}
	}
	return 0
}

// ask sends a GET to the admin endpoint.
func (e *Edge) ask(path string) (*http.Response, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.admin())
		},
	}}
	return client.Get("http://localhost" + path)
}
