package redisstore

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// The suite that every store has to pass needs a server, so it runs beside the tests of the whole system: in
// e2e. Here is what needs none.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// silent accepts connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var conns []net.Conn
		for {
			conn, err := ln.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-ended })
	return ln.Addr().String()
}

// nobody is an address at which nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func calls(s *Store, key string) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, key); return err },
		"Put":    func(ctx context.Context) error { return s.Put(ctx, key, []byte("secret value"), time.Minute) },
		"Take":   func(ctx context.Context) error { _, err := s.Take(ctx, key); return err },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, key) },
		"Update": func(ctx context.Context) error {
			return s.Update(ctx, key, func([]byte) ([]byte, time.Duration, error) { return nil, 0, errors.New("called") })
		},
	}
}

// A server that is away, or hangs, is neither an answer nor something to wait for.
func TestAServerThatDoesNotAnswer(t *testing.T) {
	for name, addresses := range map[string][]string{
		"away":          {nobody(t)},
		"silent":        {silent(t)},
		"silent, many":  {silent(t), silent(t)},
		"Sentinel away": {nobody(t)},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Addresses: addresses, Timeout: 100 * time.Millisecond, Probe: 20 * time.Millisecond}
			if strings.HasPrefix(name, "Sentinel") {
				o.Master = "main"
			}
			s := open(t, o)
			all := calls(s, "a/b")
			all["List"] = func(ctx context.Context) error { _, err := s.List(ctx, "a/"); return err }
			all["Watch"] = func(ctx context.Context) error { return s.Watch(ctx, "a/", func(string, []byte) {}) }
			for call, fn := range all {
				began := time.Now()
				err := fn(t.Context())
				if err == nil || errors.Is(err, sessions.ErrNotFound) || strings.Contains(err.Error(), "called") {
					t.Errorf("%s: %v, want an outage", call, err)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("%s gave up after %v", call, took)
				}
				if err != nil && strings.Contains(err.Error(), "secret value") {
					t.Errorf("%s shows the value: %v", call, err)
				}
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s, err := New(Options{Addresses: []string{nobody(t)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v, want nil", err)
	}
	if _, err := s.Get(t.Context(), "a/b"); err == nil || errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("Get after Run: %v, want an error", err)
	}
}

func TestOnlyKeysAndPrefixesPass(t *testing.T) {
	s := open(t, Options{Addresses: []string{nobody(t)}})
	for _, key := range []string{"", "/", "a/", "/a", "a//b", "..", "a.b", "A", "a b", "a*", "a?", "a[b]", "a:b", "{a}", "a\n", "ä"} {
		for call, fn := range calls(s, key) {
			if err := fn(t.Context()); err == nil || !strings.Contains(err.Error(), "is not a key") {
				t.Errorf("%s of %q: %v, want that it is no key", call, key, err)
			}
		}
	}
	for _, prefix := range []string{"a", "/", "a//", "*/", "a*/", "{a}/"} {
		if _, err := s.List(t.Context(), prefix); err == nil || !strings.Contains(err.Error(), "is not a prefix") {
			t.Errorf("List of %q: %v, want that it is no prefix", prefix, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options Options
		want    string
	}{
		{"one server", Options{Addresses: []string{"[::1]:6379"}, Database: 3}, ""},
		{"Sentinels", Options{Addresses: []string{"a:1", "b:1"}, Master: "main", Database: 3, SentinelPassword: "x"}, ""},
		{"a cluster", Options{Addresses: []string{"a:1", "b:1"}}, ""},
		{"no address", Options{}, "no address"},
		{"an address without a port", Options{Addresses: []string{"redis"}}, "host:port"},
		{"a cluster with Sentinels", Options{Addresses: []string{"a:1"}, Master: "main", Cluster: true}, "no Sentinel"},
		{"a cluster with a database", Options{Addresses: []string{"a:1", "b:1"}, Database: 1}, "only 0"},
		{"a password for no Sentinel", Options{Addresses: []string{"a:1"}, SentinelPassword: "x"}, "name of a master"},
		{"a prefix that is a pattern", Options{Addresses: []string{"a:1"}, Prefix: "a*:"}, "not a prefix"},
		{"a prefix that is a hash tag", Options{Addresses: []string{"a:1"}, Prefix: "{a}:"}, "not a prefix"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.options.Validate()
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestLifetimesAreRoundedUp(t *testing.T) {
	for ttl, want := range map[time.Duration]int64{
		0: 0, -time.Second: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Hour: 3_600_000,
	} {
		if got := milliseconds(ttl); got != want {
			t.Errorf("%v is %d ms, want %d", ttl, got, want)
		}
	}
}

func TestFrames(t *testing.T) {
	first, second := frame([]byte("value")), frame([]byte("value"))
	if slices.Equal(first, second) {
		t.Error("two writes have the same version")
	}
	if version, value, err := unframe("a", first); err != nil || string(value) != "value" || version != string(first[:versionSize]) {
		t.Errorf("unframe: %q, %q, %v", version, value, err)
	}
	if _, value, err := unframe("a", frame(nil)); err != nil || value == nil || len(value) != 0 {
		t.Errorf("an empty value is read as %v, %v", value, err)
	}
	if _, _, err := unframe("a", []byte("foreign")); err == nil {
		t.Error("what is too short to be a record is read as one")
	}
}
