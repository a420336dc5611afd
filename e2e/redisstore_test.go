package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/redisserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/redisstore"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/storetest"
)

const redisPassword = "redis-password-2342"

// leastRights is what the documentation says that a user of the store needs.
const leastRights = "~mcp_auth:* &mcp_auth:* +get +getdel +getrange +set +del +scan +eval +evalsha +publish +subscribe +psubscribe +info +select"

func asUser(username string) func() (string, string) {
	return func() (string, string) { return username, redisPassword }
}

// The suite that every store has to pass, against servers as they are set up out there.
func TestTheStoreOnRedis(t *testing.T) {
	t.Parallel()
	certificate, roots := redisCertificate(t)
	for _, tc := range []struct {
		name    string
		config  []string
		options redisstore.Options
	}{
		{"one server", nil, redisstore.Options{}},
		{"a server with a password", []string{"requirepass " + redisPassword}, redisstore.Options{Credentials: asUser("")}},
		{"a user with the least rights", []string{"user default off", "user edge on >" + redisPassword + " " + leastRights},
			redisstore.Options{Database: 1, Credentials: asUser("edge")}},
		{"a server with TLS", append([]string{"port 0", "tls-auth-clients no"}, certificate...), redisstore.Options{TLS: &tls.Config{RootCAs: roots}}},
		{"a cluster", []string{"cluster-enabled yes", "user edge on >" + redisPassword + " " + leastRights + " +command +cluster|slots +cluster|nodes"},
			redisstore.Options{Cluster: true, Credentials: asUser("edge")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := redisserver.Start(t, tc.config...)
			o := tc.options
			o.Addresses = []string{server.Addr()}
			if o.Cluster {
				gatherCluster(t, server)
			}
			testRedisStore(t, o)
		})
	}
}

// testRedisStore runs the suite. Each of its tests has a prefix of its own, and records that nobody else's.
func testRedisStore(t *testing.T, o redisstore.Options) {
	opened := 0
	next := func(t *testing.T) redisstore.Options {
		opened++
		o := o
		o.Prefix = fmt.Sprintf("mcp_auth:%d:", opened)
		return o
	}
	storetest.Run(t, func(t *testing.T) sessions.Store { return openRedis(t, next(t)) }, time.Sleep) // the clock is the server's
	storetest.RunReplicas(t, func(t *testing.T) (a, b sessions.Store) {
		o := next(t)
		return openRedis(t, o), openRedis(t, o)
	})
}

func openRedis(t *testing.T, o redisstore.Options) *redisstore.Store {
	t.Helper()
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
	edge.Eventually(t, "the cluster serves", 20*time.Second, func() bool {
		info, err := client.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
}

// redisCertificate makes a certificate for a server on loopback, and who vouches for it.
func redisCertificate(t *testing.T) (config []string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	roots = x509.NewCertPool()
	for _, file := range []struct {
		name, kind, option string
		der                []byte
	}{
		{"server.crt", "CERTIFICATE", "tls-cert-file", der},
		{"server.key", "PRIVATE KEY", "tls-key-file", private},
	} {
		text := pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: file.der})
		path := filepath.Join(dir, file.name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		config = append(config, file.option+" "+path)
		roots.AppendCertsFromPEM(text)
	}
	return append(config, "tls-ca-cert-file "+filepath.Join(dir, "server.crt")), roots
}

// A store whose server is replaced by its replica works on there, and its watchers hear what is written there.
func TestTheStoreOnRedisBehindSentinel(t *testing.T) {
	t.Parallel()
	first := redisserver.Start(t)
	redisserver.Start(t, fmt.Sprintf("replicaof 127.0.0.1 %d", first.Port()), "repl-diskless-sync-delay 0", "repl-ping-replica-period 1")
	sentinel := redisserver.StartSentinel(t, first)
	o := redisstore.Options{Addresses: []string{sentinel.Addr()}, Master: "main"}
	t.Run("as any other", func(t *testing.T) { testRedisStore(t, o) })

	client := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr()})
	defer client.Close()
	edge.Eventually(t, "Sentinel knows the replica", 30*time.Second, func() bool {
		replicas, err := client.Replicas(t.Context(), "main").Result()
		return err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})
	before, err := client.GetMasterAddrByName(t.Context(), "main").Result()
	if err != nil {
		t.Fatal(err)
	}
	store := openRedis(t, o)
	mustPut(t, store, "a/before")
	heard := watchRedis(t, store)
	heard.await("a/before", 5*time.Second)
	first.Kill()
	edge.Eventually(t, "the store finds the new server", 30*time.Second, func() bool {
		return store.Put(t.Context(), "a/after", []byte("value"), time.Hour) == nil
	})
	heard.await("a/after", 5*time.Second)
	if after, err := client.GetMasterAddrByName(t.Context(), "main").Result(); err != nil || after[1] == before[1] {
		t.Errorf("the server is %v, %v after a failover from %v", after, err, before)
	}
	if value, err := store.Get(t.Context(), "a/before"); err != nil || string(value) != "value" {
		t.Errorf("a record from before the failover: %q, %v", value, err)
	}
}

// Whatever state it is in, a store leaves nothing running behind.
func TestAClosedStoreOnRedisLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("used", func(t *testing.T) {
		server := redisserver.Start(t, "cluster-enabled yes")
		gatherCluster(t, server)
		for _, cluster := range []bool{true, false} {
			store := openRedis(t, redisstore.Options{Addresses: []string{server.Addr()}, Cluster: cluster})
			mustPut(t, store, "a/b")
			heard := watchRedis(t, store)
			heard.await("a/b", 5*time.Second)
		}
	})
	goleak.VerifyNone(t, before)
}
