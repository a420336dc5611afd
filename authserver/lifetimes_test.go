package authserver

import (
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func TestLifetimesOfAClient(t *testing.T) {
	s := &Server{Config: Config{Lifetimes: DefaultLifetimes(), ClientLifetimes: map[string]ClientLifetimes{
		"ci-runner":          {Access: 5 * time.Minute, Refresh: time.Hour},
		"claude.ai":          {Access: 24 * time.Hour},
		"agents.example:444": {Refresh: 7 * 24 * time.Hour},
		"127.0.0.1:33418":    {Access: 24 * time.Hour},
		"localhost:33418":    {Access: 24 * time.Hour},
		"cursor://a.b":       {Access: 24 * time.Hour},
		"com.example.app:":   {Access: 24 * time.Hour},
		"":                   {Access: 24 * time.Hour},
	}}}
	standard := DefaultLifetimes()
	for _, tc := range []struct {
		name            string
		grant           sessions.Grant
		access, sliding time.Duration
	}{
		{"a client without a profile", sessions.Grant{ClientLabel: "dcr-0123", RedirectHost: "other.example"}, standard.Access, standard.Grant.Sliding},
		{"a preregistered client", sessions.Grant{ClientLabel: "ci-runner"}, 5 * time.Minute, time.Hour},
		{"the id before the redirect host", sessions.Grant{ClientLabel: "ci-runner", RedirectHost: "claude.ai"}, 5 * time.Minute, time.Hour},
		{"a metadata document", sessions.Grant{ClientLabel: "https://claude.ai/oauth/client", RedirectHost: "localhost:1"}, 24 * time.Hour, standard.Grant.Sliding},
		{"an https redirect", sessions.Grant{ClientLabel: "dcr-0123", RedirectHost: "claude.ai"}, 24 * time.Hour, standard.Grant.Sliding},
		{"an https redirect with a port", sessions.Grant{ClientLabel: "dcr-0123", RedirectHost: "agents.example:444"}, standard.Access, 7 * 24 * time.Hour},
		{"the same host at another port", sessions.Grant{ClientLabel: "dcr-0123", RedirectHost: "claude.ai:8443"}, standard.Access, standard.Grant.Sliding},
		{"a document on a host with the same beginning", sessions.Grant{ClientLabel: "https://claude.ai.evil.example/x"}, standard.Access, standard.Grant.Sliding},
		{"a name that is somebody's host", sessions.Grant{ClientLabel: "dcr-0123", ClientName: "claude.ai", RedirectHost: "evil.example"}, standard.Access, standard.Grant.Sliding},
		{"a loopback address, which any program can have", sessions.Grant{ClientLabel: "dcr-0123", RedirectHost: "127.0.0.1:33418"}, standard.Access, standard.Grant.Sliding},
		{"localhost", sessions.Grant{ClientLabel: "dcr-0123", RedirectHost: "localhost:33418"}, standard.Access, standard.Grant.Sliding},
		{"a private scheme with a host", sessions.Grant{ClientLabel: "dcr-0123", RedirectHost: "cursor://a.b"}, standard.Access, standard.Grant.Sliding},
		{"a private scheme like a domain", sessions.Grant{ClientLabel: "dcr-0123", RedirectHost: "com.example.app:"}, standard.Access, standard.Grant.Sliding},
		{"no redirect at all", sessions.Grant{ClientLabel: "dcr-0123"}, standard.Access, standard.Grant.Sliding},
	} {
		t.Run(tc.name, func(t *testing.T) {
			access, policy := s.lifetimesOf(tc.grant)
			if access != tc.access || policy.Sliding != tc.sliding || policy.Grace != standard.Grant.Grace {
				t.Errorf("access %s, refresh %s, want %s, %s", access, policy.Sliding, tc.access, tc.sliding)
			}
		})
	}
}
