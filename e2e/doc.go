// Package e2e tests the whole system with real parts: the built Caddy as a process, a real OpenID
// Connect provider, real MCP servers and clients, and real browsers. It is a module of its own, so
// that none of its dependencies reaches those who build Caddy with mcp_auth.
package e2e
