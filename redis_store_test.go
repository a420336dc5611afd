package mcpauth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/redisstore"
)

const testRedisPassword = "hunter2-of-the-test"

// The addresses are of nobody: provisioning must not ask them.
func TestValidateRedis(t *testing.T) {
	t.Setenv("TEST_REDIS_ADDR", "127.0.0.1:1")
	t.Setenv("TEST_REDIS_URL", "redis://edge:"+testRedisPassword+"@127.0.0.1:1/2")
	t.Setenv("TEST_REDIS_BROKEN", "redis://edge:"+testRedisPassword+"@127.0.0.1:x%/2")
	t.Setenv("TEST_REDIS_EMPTY_PASSWORD", "redis://edge:@127.0.0.1:1")
	t.Setenv("TEST_REDIS_PASSWORD", testRedisPassword)
	t.Setenv("TEST_EMPTY", "")
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, store, want string }{
		{"an address in the environment", "redis://{env.TEST_REDIS_ADDR}", ""},
		{"a whole URL in the environment", "{env.TEST_REDIS_URL}", ""},
		{"a password beside the address", "redis://127.0.0.1:1 {\npassword {env.TEST_REDIS_PASSWORD}\n}", ""},
		{"Sentinels", "redis://127.0.0.1 redis://127.0.0.2 {\nmaster main\nsentinel_password {env.TEST_REDIS_PASSWORD}\n}", ""},
		{"nodes of a cluster", "redis://127.0.0.1 redis://127.0.0.2", ""},
		{"an address that is not set", "redis://{env.TEST_UNSET}", "{env.TEST_UNSET} stands for nothing"},
		{"an address that is empty", "redis://{env.TEST_EMPTY}", "{env.TEST_EMPTY} stands for nothing"},
		{"a password that is empty", "redis://127.0.0.1:1 {\npassword {env.TEST_EMPTY}\n}", "{env.TEST_EMPTY} stands for nothing"},
		{"an empty password in a URL", "{env.TEST_REDIS_EMPTY_PASSWORD}", "password in an address is empty"},
		{"a URL that is none", "{env.TEST_REDIS_BROKEN}", "write redis://host:port"},
		{"a password in two places", "{env.TEST_REDIS_URL} {\npassword {env.TEST_REDIS_PASSWORD}\n}", "keep one of them"},
		{"a secret in braces", "redis://:{" + testRedisPassword + "}@127.0.0.1:1", "stands for nothing"},
		{"addresses with different databases", "redis://127.0.0.1/1 redis://127.0.0.2/2 {\nmaster main\n}", "differ"},
		{"a cluster with a database", "redis://127.0.0.1/1 {\ncluster\n}", "only 0"},
		{"authorities without TLS", "redis://127.0.0.1:1 {\ntls_ca " + notPEM + "\n}", "rediss://"},
		{"authorities that are no certificates", "rediss://127.0.0.1:1 {\ntls_ca " + notPEM + "\n}", "no certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(t, ":8080 {\nmcp_auth {\noidc https://idp.example.com {\nclient_id edge\n}\nallow any\nstore redis "+tc.store+"\n}\n}\n")
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), testRedisPassword) {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestParseRedisAddress(t *testing.T) {
	for _, tc := range []struct {
		text     string
		address  string
		secure   bool
		database int
		username string
		password string
	}{
		{"redis://redis.example.com", "redis.example.com:6379", false, 0, "", ""},
		{"rediss://Redis.example.com:6380/15", "redis.example.com:6380", true, 15, "", ""},
		{"redis://:p%40ss%2Fword@[::1]:7000/", "[::1]:7000", false, 0, "", "p@ss/word"},
		{"redis://edge:pass@10.0.0.1", "10.0.0.1:6379", false, 0, "edge", "pass"},
		{"redis://edge@10.0.0.1", "10.0.0.1:6379", false, 0, "edge", ""},
	} {
		got, err := parseRedisAddress(tc.text, "6379")
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		if got.addresses[0] != tc.address || got.secure != tc.secure || got.database != tc.database || got.username != tc.username || got.password != tc.password {
			t.Errorf("%s is read as %+v", tc.text, got)
		}
	}
	for _, text := range []string{
		"", "redis", "redis://", "redis://:6379", "redis:host", "tcp://host", "redis://host:0", "redis://host:65536", "redis://host:x",
		"redis://host/-1", "redis://host/01", "redis://host/a", "redis://host/1/2", "redis://host?x=1", "redis://host?", "redis://host#x",
		"redis://user:@host", "redis://us er@host",
	} {
		if got, err := parseRedisAddress(text, "6379"); err == nil {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

// Sites whose stores have the same key share one, so it has to tell backends apart and nothing else. It is shown in
// places where no secret belongs.
func TestTheKeyOfARedisStore(t *testing.T) {
	t.Setenv("TEST_REDIS_PASSWORD", testRedisPassword)
	t.Setenv("TEST_OTHER_PASSWORD", "another-"+testRedisPassword)
	key := func(s RedisStore) string {
		t.Helper()
		if err := s.resolve(nil); err != nil {
			t.Fatal(err)
		}
		return s.Key()
	}
	one := []string{"redis://127.0.0.1"}
	plain := key(RedisStore{Addresses: one})
	for name, same := range map[string]RedisStore{
		"the port written out":   {Addresses: []string{"redis://127.0.0.1:6379/0"}},
		"a password":             {Addresses: one, Password: "{env.TEST_REDIS_PASSWORD}"},
		"a password in the URL":  {Addresses: []string{"redis://edge:{env.TEST_OTHER_PASSWORD}@127.0.0.1"}},
		"another user and again": {Addresses: one, Username: "edge"},
	} {
		if got := key(same); got != plain {
			t.Errorf("%s: the key is %q, want %q", name, got, plain)
		}
	}
	sentinel := RedisStore{Addresses: one, Master: "main"}
	guarded := sentinel
	guarded.SentinelPassword = "{env.TEST_REDIS_PASSWORD}"
	keys := map[string]string{plain: "plain"}
	for name, other := range map[string]RedisStore{
		"another host":      {Addresses: []string{"redis://127.0.0.2"}},
		"another database":  {Addresses: []string{"redis://127.0.0.1/1"}},
		"another prefix":    {Addresses: one, Prefix: "other:"},
		"TLS":               {Addresses: []string{"rediss://127.0.0.1"}},
		"a cluster":         {Addresses: one, Cluster: true},
		"Sentinel":          sentinel,
		"Sentinel, guarded": guarded,
	} {
		got := key(other)
		if before, ok := keys[got]; ok {
			t.Errorf("%s has the same key as %s: %q", name, before, got)
		}
		if strings.Contains(got, testRedisPassword) {
			t.Errorf("%s: the key holds the password: %q", name, got)
		}
		keys[got] = name
	}
}

func TestAReloadChangesThePasswordOfARedisStore(t *testing.T) {
	t.Setenv("TEST_REDIS_PASSWORD", "first")
	var configs [3]*RedisStore
	for i, password := range []string{"first", "second", "third"} {
		t.Setenv("TEST_REDIS_PASSWORD", password)
		configs[i] = &RedisStore{Addresses: []string{"redis://127.0.0.1:1"}, Password: "{env.TEST_REDIS_PASSWORD}"}
		if err := configs[i].resolve(nil); err != nil {
			t.Fatal(err)
		}
	}
	store, err := configs[0].Store()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.(*reloadableRedis).Close() }()
	wantPassword := func(when, want string) {
		t.Helper()
		if _, got := store.(*reloadableRedis).logins.now(); got != want {
			t.Errorf("%s the password is %q, want %q", when, got, want)
		}
	}
	detachFirst := configs[0].attach(store)
	wantPassword("at the start", "first")
	detachSecond := configs[1].attach(store)
	wantPassword("during a reload", "second")
	detachFirst()
	wantPassword("after it", "second")
	configs[2].attach(store)()
	wantPassword("after a config that did not start", "second")
	detachSecond()
	wantPassword("at the end", "second")
	configs[1].attach(&redisstore.Store{})() // a store of somebody else's is left alone
}
