package mcpauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store redis <url> [<more urls...>] {
//	    master            <name>
//	    cluster
//	    prefix            <text>
//	    username          <name>
//	    password          <{env.NAME} | {file./path}>
//	    sentinel_username <name>
//	    sentinel_password <{env.NAME} | {file./path}>
//	    tls_ca            <file>
//	}
func (s *RedisStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the store's name
	directive := *d
	s.Addresses = d.RemainingArgs()
	texts := map[string]*string{
		"master": &s.Master, "prefix": &s.Prefix, "username": &s.Username, "password": &s.Password,
		"sentinel_username": &s.SentinelUsername, "sentinel_password": &s.SentinelPassword, "tls_ca": &s.TLSCA,
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if target, ok := texts[name]; ok {
			if err := oneArg(d, target); err != nil {
				return err
			}
			continue
		}
		if name != "cluster" {
			return d.Errf("unknown option %q; store redis knows: master, cluster, prefix, username, password, sentinel_username, "+
				"sentinel_password, tls_ca", name)
		}
		s.Cluster = true
		if err := noArgs(d); err != nil {
			return err
		}
	}
	if err := s.check(); err != nil {
		return directive.Errf("store redis: %v", err)
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*RedisStore)(nil)
