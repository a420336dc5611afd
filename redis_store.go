package mcpauth

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/redisstore"
)

func init() {
	caddy.RegisterModule(new(RedisStore))
}

// RedisStore keeps sessions in Redis or Valkey: one server, a cluster, or servers behind Sentinel. All
// machines that use one share sessions. The server has to keep what it is given: set its
// `maxmemory-policy` to `noeviction`.
type RedisStore struct {
	// Where the servers are, as `redis://host:port`, or `rediss://host:port` for TLS; with `/<number>`
	// at the end for another database than 0, and with `user:password@` before the host if you like.
	// Several are nodes of a cluster, or Sentinels if `master` is given. Placeholders are resolved; a
	// password has to be one.
	Addresses []string `json:"addresses,omitempty"`

	// The name under which Sentinel knows the servers. Default: no Sentinel.
	Master string `json:"master,omitempty"`

	// The single address is that of a cluster. Several addresses without a master always are. Default: `false`.
	Cluster bool `json:"cluster,omitempty"`

	// What all keys and channels begin with. Default: `mcp_auth:`.
	Prefix string `json:"prefix,omitempty"`

	// The user, instead of in the addresses. Default: the server's `default` user.
	Username string `json:"username,omitempty"`

	// The password, as `{env.NAME}` or `{file./path}`, instead of in the addresses. A changed one is
	// used from the next reload on. Default: none.
	Password string `json:"password,omitempty"`

	// The user at the Sentinels. Default: their `default` user.
	SentinelUsername string `json:"sentinel_username,omitempty"`

	// The password at the Sentinels, as `{env.NAME}` or `{file./path}`. Default: none.
	SentinelPassword string `json:"sentinel_password,omitempty"`

	// A PEM file with the certificate authorities that vouch for the servers. Default: those that the
	// system trusts.
	TLSCA string `json:"tls_ca,omitempty"`

	options redisstore.Options
	login   *redisLogin
	key     string
}

// redisLogin is what a config says about who it is to the servers.
type redisLogin struct{ username, password string }

// CaddyModule returns the Caddy module information.
func (*RedisStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "mcp_auth.stores.redis", New: func() caddy.Module { return new(RedisStore) }}
}

// Provision resolves placeholders and checks the settings. It does not contact the servers.
func (s *RedisStore) Provision(ctx caddy.Context) error {
	if err := s.resolve(ctx.Slogger()); err != nil {
		return fmt.Errorf("store redis: %w", err)
	}
	return nil
}

func (s *RedisStore) resolve(logger *slog.Logger) error {
	if err := s.check(); err != nil {
		return err
	}
	servers, err := resolveRedisAddresses(s.Addresses, s.defaultPort())
	if err != nil {
		return err
	}
	s.login = &redisLogin{servers.username, servers.password}
	s.options = redisstore.Options{
		Addresses: servers.addresses, Master: s.Master, Cluster: s.Cluster, Database: servers.database,
		Prefix: s.Prefix, Logger: logger,
	}
	for _, of := range []struct {
		name, value string
		target      *string
	}{
		{"username", s.Username, &s.login.username},
		{"password", s.Password, &s.login.password},
		{"sentinel_username", s.SentinelUsername, &s.options.SentinelUsername},
		{"sentinel_password", s.SentinelPassword, &s.options.SentinelPassword},
	} {
		if of.value == "" {
			continue
		}
		if *of.target != "" {
			return fmt.Errorf("%s is also in an address; keep one of them", of.name)
		}
		if *of.target, err = secretValue(of.value); err != nil {
			return fmt.Errorf("%s: %w", of.name, err)
		}
	}
	trust := ""
	if servers.secure {
		if s.options.TLS, trust, err = redisTLS(s.TLSCA); err != nil {
			return err
		}
	} else if s.TLSCA != "" {
		return errors.New("tls_ca is for addresses that begin with rediss://")
	}
	if err := s.options.Validate(); err != nil {
		return err
	}
	s.key = s.identity(trust)
	return nil
}

// check looks at what can be seen before placeholders are resolved.
func (s *RedisStore) check() error {
	if len(s.Addresses) == 0 {
		return errors.New("it has no address; write, for example, redis://redis.example.com:6379")
	}
	for _, address := range s.Addresses {
		if err := checkRedisAddress(address); err != nil {
			return err
		}
	}
	for _, of := range []struct{ name, value string }{{"password", s.Password}, {"sentinel_password", s.SentinelPassword}} {
		if of.value != "" && !isPlaceholder(of.value) {
			// A configuration is shown, copied and kept in places where no secret belongs.
			return fmt.Errorf(`%[1]s is not a placeholder; write "%[1]s {env.NAME}" or "%[1]s {file./path}"`, of.name)
		}
	}
	switch {
	case s.Master != "" && s.Cluster:
		return errors.New("a cluster has no Sentinel; give either master or cluster")
	case s.Master == "" && s.SentinelUsername+s.SentinelPassword != "":
		return errors.New(`credentials for Sentinel need the name of the servers; add "master <name>"`)
	case s.Prefix != "":
		return (&redisstore.Options{Addresses: []string{"localhost:6379"}, Prefix: s.Prefix}).Validate()
	}
	return nil
}

func (s *RedisStore) defaultPort() string {
	if s.Master != "" {
		return "26379"
	}
	return "6379"
}

// identity tells backends apart. Who we are to a backend is no part of it, so that a password can be changed at a
// reload; what makes us believe in it is, and so is the way in to the Sentinels, as hashes.
func (s *RedisStore) identity(trust string) string {
	o := &s.options
	addresses := slices.Clone(o.Addresses)
	slices.Sort(addresses)
	sentinel := ""
	if o.Master != "" {
		sum := sha256.Sum256([]byte(o.SentinelUsername + "\x00" + o.SentinelPassword))
		sentinel = hex.EncodeToString(sum[:8])
	}
	return fmt.Sprintf("redis %s database=%d master=%q cluster=%t prefix=%q tls=%q sentinel=%q",
		strings.Join(addresses, ","), o.Database, o.Master, o.Cluster, o.Prefix, trust, sentinel)
}

// Key implements StoreModule.
func (s *RedisStore) Key() string { return s.key }

// logRedisClient is done once: the client library has one log, while configs and their loggers come and go.
var logRedisClient = sync.OnceFunc(func() {
	redisstore.LogClient(func(text string) { caddy.Log().Named("mcp_auth.stores.redis").Debug(text) })
})

// Store implements StoreModule.
func (s *RedisStore) Store() (sessions.Store, error) {
	logRedisClient()
	logins := &redisLogins{all: []*redisLogin{s.login}}
	options := s.options
	options.Credentials = logins.now
	store, err := redisstore.New(options)
	if err != nil {
		return nil, err
	}
	return &reloadableRedis{Store: store, logins: logins}, nil
}

// attach makes a store that an older config opened log in as this config says, until detach.
func (s *RedisStore) attach(store sessions.Store) (detach func()) {
	shared, ok := store.(*reloadableRedis)
	if !ok {
		return func() {}
	}
	shared.logins.push(s.login)
	return func() { shared.logins.remove(s.login) }
}

// reloadableRedis is a redisstore whose credentials can be exchanged at a reload.
type reloadableRedis struct {
	*redisstore.Store
	logins *redisLogins
}

// redisLogins is the login of the newest config, for connections that are made from now on.
type redisLogins struct {
	mu  sync.Mutex
	all []*redisLogin
}

func (l *redisLogins) push(login *redisLogin) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.all, login) {
		l.all = append(l.all, login)
	}
}

// remove takes login out again. The last one stays: requests of a config that is going away still use it.
func (l *redisLogins) remove(login *redisLogin) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.all, login); i >= 0 && len(l.all) > 1 {
		l.all = slices.Delete(l.all, i, i+1)
	}
}

func (l *redisLogins) now() (username, password string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := l.all[len(l.all)-1]
	return newest.username, newest.password
}

// redisTLS makes the configuration for servers that the authorities in a file vouch for, or those of the system, and
// names that trust.
func redisTLS(file string) (config *tls.Config, trust string, err error) {
	config = &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return config, "system", nil
	}
	path := caddy.NewReplacer().ReplaceAll(file, "")
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("tls_ca: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, "", fmt.Errorf("tls_ca: %s has no certificate in PEM", path)
	}
	sum := sha256.Sum256(pem)
	return config, hex.EncodeToString(sum[:8]), nil
}

// Interface guards
var (
	_ caddy.Provisioner = (*RedisStore)(nil)
	_ StoreModule       = (*RedisStore)(nil)
	_ attacher          = (*RedisStore)(nil)
)
