package redisstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// DefaultPrefix is what all keys begin with by default.
const DefaultPrefix = "mcp_auth:"

// Options say where the records are.
type Options struct {
	// Addresses are of the server, of some nodes of a cluster, or of the Sentinels: host and port each.
	Addresses []string
	// Master is the name under which Sentinel knows the servers. Default: no Sentinel.
	Master string
	// Cluster says that a single address belongs to a cluster. Several without a Master always do.
	Cluster bool
	// Database is the number of the database. A cluster has only 0.
	Database int
	// TLS is for connections by TLS. Default: none.
	TLS *tls.Config
	// Credentials are asked for with each new connection. Default: none are sent.
	Credentials func() (username, password string)
	// SentinelUsername and SentinelPassword are for the Sentinels themselves. Default: none are sent.
	SentinelUsername, SentinelPassword string
	// Prefix is what all keys and channels begin with. Default: [DefaultPrefix].
	Prefix string
	// Timeout bounds each exchange with the server. Default: 2s.
	Timeout time.Duration
	// Probe is how often a watcher makes sure that it hears what is written. Default: 300ms.
	Probe time.Duration
	// Logger hears what no caller can be told. Default: none.
	Logger *slog.Logger
}

// New checks the options and returns a store. It does no I/O.
func New(opts Options) (*Store, error) {
	if opts.Prefix == "" {
		opts.Prefix = DefaultPrefix
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 2 * time.Second
	}
	if opts.Probe <= 0 {
		opts.Probe = 300 * time.Millisecond
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	return &Store{client: opts.connect(), opts: opts, lists: make(chan struct{}, listsAtOnce)}, nil
}

// Validate says what is wrong with the options. New does so too.
func (o *Options) Validate() error {
	if len(o.Addresses) == 0 {
		return errors.New("no address of a Redis server was given")
	}
	for _, address := range o.Addresses {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return fmt.Errorf("%q is not an address; write host:port", address)
		}
	}
	switch {
	case o.Master != "" && o.Cluster:
		return errors.New("a cluster has no Sentinel; give either a master or a cluster")
	case o.Database != 0 && o.Master == "" && (o.Cluster || len(o.Addresses) > 1):
		return fmt.Errorf("a cluster has no database %d, only 0", o.Database)
	case o.Master == "" && o.SentinelUsername+o.SentinelPassword != "":
		return errors.New("credentials for Sentinel need the name of a master")
	}
	return checkPrefix(o.Prefix)
}

// checkPrefix keeps out what means something in a pattern, and braces, which in a cluster would put all records on
// one node.
func checkPrefix(prefix string) error {
	for _, c := range prefix {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' && c != ':' && c != '/' {
			return fmt.Errorf("%q is not a prefix for keys: write letters, digits and any of _ - . : /", prefix)
		}
	}
	return nil
}

// connect makes a client, which has no connection until it needs one.
func (o *Options) connect() redis.UniversalClient {
	return redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:               slices.Clone(o.Addresses),
		MasterName:          o.Master,
		IsClusterMode:       o.Cluster,
		DB:                  o.Database,
		TLSConfig:           o.TLS,
		CredentialsProvider: o.Credentials,
		SentinelUsername:    o.SentinelUsername,
		SentinelPassword:    o.SentinelPassword,

		// What a server has done may not be done again because its answer was lost.
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           o.Timeout,
		ReadTimeout:           o.Timeout,
		WriteTimeout:          o.Timeout,
		PoolTimeout:           o.Timeout,
		ContextTimeoutEnabled: true,

		// The least that a server, a proxy before it or an access control list has to know.
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}
