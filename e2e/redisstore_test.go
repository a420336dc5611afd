package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/redisserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/redisstore"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/storetest"
)

const redisPassword = "redis-password-2342"

// aclUser may do just what the documentation says that the store needs.
const aclUser = "user edge on >" + redisPassword + " ~mcp_auth:* ~t*: &mcp_auth:* &t*: " +
	"+get +getdel +getrange +set +del +scan +eval +evalsha +publish +subscribe +psubscribe +select +info"

// The suite that every store has to pass, against servers as they are set up out there.
func TestTheStoreOnRedis(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		config  []string
		options redisstore.Options
	}{
		{"one server", nil, redisstore.Options{}},
		{"a server with a password", []string{"requirepass " + redisPassword},
			redisstore.Options{Database: 3, Credentials: func() (string, string) { return "", redisPassword }}},
		{"a cluster", []string{"cluster-enabled yes", "cluster-config-file nodes.conf"}, redisstore.Options{Cluster: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := redisserver.Start(t, tc.config...)
			o := tc.options
			o.Addresses = []string{server.Addr()}
			if o.Cluster {
				gatherCluster(t, server)
			}
			opened := 0
			open := func(t *testing.T) sessions.Store {
				opened++ // each test has records of its own
				return openRedis(t, o, opened)
			}
			storetest.Run(t, open, time.Sleep) // the clock is the server's
			storetest.RunReplicas(t, func(t *testing.T) (a, b sessions.Store) {
				opened++
				return openRedis(t, o, opened), openRedis(t, o, opened)
			})
		})
	}
}

func openRedis(t *testing.T, o redisstore.Options, number int) *redisstore.Store {
	t.Helper()
	o.Prefix = fmt.Sprintf("t%d:", number)
	store, err := redisstore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return store
}

// gatherCluster makes a server all of a cluster.
func gatherCluster(t *testing.T, server *redisserver.Server) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	if err := client.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for {
		info, err := client.ClusterInfo(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "cluster_state:ok") {
			return
		}
	}
}
