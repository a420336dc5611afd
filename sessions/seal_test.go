package sessions_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

var textKinds = []sessions.Kind{
	sessions.AccessToken, sessions.RefreshToken, sessions.AuthorizationCode, sessions.ConsentTicket,
	sessions.ConsentCookie, sessions.LoginState, sessions.LoginCookie, sessions.BrowserSession,
	sessions.ClientID, sessions.ClientSecret, sessions.InitialAccessToken, sessions.UserToken, sessions.ChoiceTicket, sessions.LogoutTicket,
	sessions.PortalTicket,
}

func seal(t testing.TB, r *sessions.Ring, k sessions.Kind, tenant, plain string) string {
	t.Helper()
	sealed, err := r.Seal(k, tenant, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestIDTextForm(t *testing.T) {
	id := sessions.NewID()
	if back, err := sessions.ParseID(id.String()); err != nil || back != id {
		t.Errorf("ParseID of %s: %s, %v", id, back, err)
	}
	if id == sessions.NewID() {
		t.Error("two new ids are the same")
	}
	for _, s := range []string{"", "0", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("A", 32), strings.Repeat("g", 32), strings.Repeat("0", 30) + "\r\n"} {
		if _, err := sessions.ParseID(s); !errors.Is(err, sessions.ErrInvalid) {
			t.Errorf("ParseID of %q: %v, want ErrInvalid", s, err)
		}
	}
}

func TestKindsNeverMix(t *testing.T) {
	r := staticRing(t, secretOne)
	tenants := []string{tenant, "https://other.example.com", ""}
	for _, sealedAs := range textKinds {
		for _, sealedFor := range tenants {
			sealed := seal(t, r, sealedAs, sealedFor, "plain")
			body := strings.TrimPrefix(sealed, sealedAs.Prefix())
			if body == sealed {
				t.Errorf("kind %d: %q does not begin with its prefix", sealedAs, sealed)
			}
			for _, openedAs := range textKinds {
				for _, openedFor := range tenants {
					got, err := r.Open(openedAs, openedFor, sealed)
					if openedAs == sealedAs && openedFor == sealedFor {
						if err != nil || string(got) != "plain" {
							t.Errorf("kind %d does not open again: %q, %v", sealedAs, got, err)
						}
						continue
					}
					if err != sessions.ErrInvalid {
						t.Errorf("kind %d of %q opened as %d of %q: %q, %v", sealedAs, sealedFor, openedAs, openedFor, got, err)
					}
					// With the prefix exchanged, only the derived key and the associated data are in the way.
					if _, err := r.Open(openedAs, openedFor, openedAs.Prefix()+body); err != sessions.ErrInvalid {
						t.Errorf("kind %d of %q opened as %d of %q after its prefix was exchanged: %v", sealedAs, sealedFor, openedAs, openedFor, err)
					}
				}
			}
			raw, err := base64.RawURLEncoding.DecodeString(body)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.OpenRecord(sealedFor, "", raw); err != sessions.ErrInvalid {
				t.Errorf("kind %d opened as a record: %v", sealedAs, err)
			}
		}
	}
	for _, k := range []sessions.Kind{sessions.Record, sessions.Record + 1, 255} {
		if _, err := r.Seal(k, tenant, nil); err == nil {
			t.Errorf("kind %d was sealed as a text", k)
		}
		if _, err := r.Open(k, tenant, seal(t, r, sessions.AccessToken, tenant, "plain")); err != sessions.ErrInvalid {
			t.Errorf("kind %d was opened as a text: %v", k, err)
		}
		if k.Prefix() != "" {
			t.Errorf("kind %d has the prefix %q", k, k.Prefix())
		}
	}
}

func TestRecordsBelongToTheirPlace(t *testing.T) {
	r := staticRing(t, secretOne)
	sealed, err := r.SealRecord(tenant, "a/b", []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.OpenRecord(tenant, "a/b", sealed); err != nil || string(got) != "plain" {
		t.Errorf("OpenRecord: %q, %v", got, err)
	}
	for _, place := range [][2]string{{tenant, "a/c"}, {tenant, ""}, {"https://other.example.com", "a/b"}, {tenant + "a", "/b"}, {"", tenant + "a/b"}} {
		if _, err := r.OpenRecord(place[0], place[1], sealed); err != sessions.ErrInvalid {
			t.Errorf("opened at %q: %v, want ErrInvalid", place, err)
		}
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := r.OpenRecord(tenant, "a/b", changed); err != sessions.ErrInvalid {
			t.Errorf("opened with byte %d changed: %v", i, err)
		}
		if _, err := r.OpenRecord(tenant, "a/b", sealed[:i]); err != sessions.ErrInvalid {
			t.Errorf("opened with %d bytes: %v", i, err)
		}
	}
}

func TestOpenRefusesWhatWasNotSealed(t *testing.T) {
	r := staticRing(t, secretOne)
	token := seal(t, r, sessions.AccessToken, tenant, "plain!")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	refused := func(what, text string) {
		t.Helper()
		if got, err := r.Open(sessions.AccessToken, tenant, text); err != sessions.ErrInvalid {
			t.Errorf("%s opened: %q, %v", what, got, err)
		}
	}
	for i := range token {
		refused("a shortened token", token[:i])
		for _, c := range []byte{'A', '_', '=', '\n', '\r', 0, 0xff, token[i] ^ 0x20} {
			if c != token[i] {
				refused("a changed token", token[:i]+string([]byte{c})+token[i+1:])
			}
			refused("a token with an insertion", token[:i]+string([]byte{c})+token[i:])
		}
	}
	// The last character carries unused bits, which a lenient decoder ignores.
	for _, c := range []byte(alphabet) {
		if c != token[len(token)-1] {
			refused("a token with another last character", token[:len(token)-1]+string([]byte{c}))
		}
	}
	for what, text := range map[string]string{
		"nothing":                    "",
		"a prefix":                   "mcpat_",
		"two prefixes":               "mcpat_" + token,
		"a token in capitals":        strings.ToUpper(token),
		"a padded token":             token + "=",
		"a token and a line break":   token + "\n",
		"a token with a broken line": token[:20] + "\r\n" + token[20:],
		"two tokens":                 token + token,
		"a token of another ring":    seal(t, staticRing(t, secretTwo), sessions.AccessToken, tenant, "plain"),
		"zeros":                      "mcpat_" + strings.Repeat("A", 100),
		"standard base64":            "mcpat_" + strings.Repeat("+/", 50),
	} {
		refused(what, text)
	}
}

func TestGarbageIsRefusedQuickly(t *testing.T) {
	r := staticRing(t, secretOne)
	for _, garbage := range []string{
		strings.Repeat("A", 1<<20),
		"mcpat_" + strings.Repeat("A", 1<<20),
		"mcpat_" + strings.Repeat("\n", 1<<20),
		"mcpat_" + strings.Repeat("\xff", 60<<10),
		seal(t, r, sessions.AccessToken, tenant, "plain") + strings.Repeat("A", 1<<20),
	} {
		// Allocations stand for work here: a bound on time would be a matter of the machine.
		allocs := testing.AllocsPerRun(10, func() {
			if _, err := r.Open(sessions.AccessToken, tenant, garbage); err != sessions.ErrInvalid {
				t.Errorf("garbage of %d bytes: %v", len(garbage), err)
			}
		})
		if len(garbage) > 64<<10+6 && allocs > 0 {
			t.Errorf("garbage of %d bytes cost %v allocations, so somebody copied it", len(garbage), allocs)
		}
	}
	if _, err := r.Seal(sessions.AccessToken, tenant, make([]byte, 64<<10)); err == nil {
		t.Error("a value was sealed that would not open again")
	}
}

func TestOperatorKeys(t *testing.T) {
	for name, secrets := range map[string][]string{
		"none":               nil,
		"an empty one":       {""},
		"a short one":        {"0123456789abcdef0123456789abcde"},
		"one of equal bytes": {strings.Repeat("x", 64)},
		"a short second one": {secretOne, "short"},
		"the same one twice": {secretOne, secretTwo, secretOne},
	} {
		var c sessions.RingConfig
		for _, s := range secrets {
			c.Secrets = append(c.Secrets, []byte(s))
		}
		_, err := sessions.NewRing(c)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, s := range secrets {
			if s != "" && strings.Contains(err.Error(), s) {
				t.Errorf("%s: the error shows the key: %v", name, err)
			}
		}
	}
	_, c := memVault(t)
	if _, err := sessions.NewRing(sessions.RingConfig{Store: &flaky{}, Secrets: [][]byte{[]byte(secretOne)}, Now: c.Now}); err == nil {
		t.Error("a store and keys at once were accepted")
	}

	old := staticRing(t, secretOne)
	both := staticRing(t, secretTwo, secretOne)
	sealedOld := seal(t, old, sessions.RefreshToken, tenant, "old")
	sealedNew := seal(t, both, sessions.RefreshToken, tenant, "new")
	if got, err := both.Open(sessions.RefreshToken, tenant, sealedOld); err != nil || string(got) != "old" {
		t.Errorf("the second key does not open: %q, %v", got, err)
	}
	if _, err := old.Open(sessions.RefreshToken, tenant, sealedNew); err != sessions.ErrInvalid {
		t.Errorf("the first key does not seal: %v", err)
	}
	if got, err := staticRing(t, secretTwo).Open(sessions.RefreshToken, tenant, sealedNew); err != nil || string(got) != "new" {
		t.Errorf("the key's id depends on more than the key: %q, %v", got, err)
	}
	if err := both.Load(t.Context()); err != nil || !both.Loaded() {
		t.Errorf("Load without a store: %v, loaded %v", err, both.Loaded())
	}
}

func TestDerive(t *testing.T) {
	old := staticRing(t, secretOne)
	id := seal(t, old, sessions.ClientID, tenant, "registration")
	derive := func(r *sessions.Ring, k sessions.Kind, tenant, id string) string {
		t.Helper()
		secret, err := r.Derive(k, tenant, id)
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	secret := derive(old, sessions.ClientSecret, tenant, id)
	if !strings.HasPrefix(secret, "mcpcs_") || len(secret) < 6+43 {
		t.Errorf("the secret %q is not of its kind, or short", secret)
	}
	if again := derive(staticRing(t, secretTwo, secretOne), sessions.ClientSecret, tenant, id); again != secret {
		t.Error("the secret changed when a new key was put first")
	}
	for what, other := range map[string]string{
		"another id":   derive(old, sessions.ClientSecret, tenant, seal(t, old, sessions.ClientID, tenant, "registration")),
		"another kind": derive(old, sessions.UserToken, tenant, id),
	} {
		if strings.TrimPrefix(other, other[:6]) == strings.TrimPrefix(secret, secret[:6]) {
			t.Errorf("the secret is the same for %s", what)
		}
	}
	for what, err := range map[string]error{
		"another tenant":     second(old.Derive(sessions.ClientSecret, "https://other.example.com", id)),
		"no sealed id":       second(old.Derive(sessions.ClientSecret, tenant, "client")),
		"a changed id":       second(old.Derive(sessions.ClientSecret, tenant, id[:len(id)-4]+"AAAA")),
		"an id from nowhere": second(staticRing(t, secretTwo).Derive(sessions.ClientSecret, tenant, id)),
	} {
		wantErr(t, what, err, sessions.ErrInvalid)
	}
	if _, err := old.Derive(sessions.Record, tenant, id); err == nil {
		t.Error("a secret of no text kind was derived")
	}
}

func second[T any](_ T, err error) error { return err }

func TestSealedValuesDiffer(t *testing.T) {
	r := staticRing(t, secretOne)
	seen := make(map[string]bool)
	for range 1000 {
		seen[seal(t, r, sessions.ConsentTicket, tenant, "the same")] = true
	}
	if len(seen) != 1000 {
		t.Errorf("1000 sealings of one value gave %d texts", len(seen))
	}
}

func TestJSON(t *testing.T) {
	v, c := memVault(t)
	type ticket struct {
		Client string
		Until  time.Time
	}
	sealed, err := v.SealJSON(sessions.ConsentTicket, ticket{"client", c.Now()})
	if err != nil {
		t.Fatal(err)
	}
	var got ticket
	if err := v.OpenJSON(sessions.ConsentTicket, sealed, &got); err != nil || got.Client != "client" || !got.Until.Equal(c.Now()) {
		t.Errorf("OpenJSON: %+v, %v", got, err)
	}
	var other []int
	wantErr(t, "opening into another shape", v.OpenJSON(sessions.ConsentTicket, sealed, &other), sessions.ErrInvalid)
	wantErr(t, "opening as another kind", v.OpenJSON(sessions.LoginState, sealed, &got), sessions.ErrInvalid)
	if _, err := v.SealJSON(sessions.ConsentTicket, make(chan int)); err == nil {
		t.Error("a channel was sealed")
	}
}

func FuzzOpen(f *testing.F) {
	r := staticRing(f, secretOne)
	token := seal(f, r, sessions.AccessToken, tenant, "plain")
	f.Add(token)
	f.Add(token + "\n")
	f.Add("mcpat_")
	f.Add("mcprt_" + token[6:])
	f.Fuzz(func(t *testing.T, text string) {
		genuine := false
		for _, k := range textKinds {
			got, err := r.Open(k, tenant, text)
			// Every process of the fuzzer seals a token of its own, with the same key.
			if err == nil {
				genuine = k == sessions.AccessToken && len(text) == len(token) && string(got) == "plain"
				if !genuine {
					t.Errorf("%q opened as kind %d: %q", text, k, got)
				}
			}
			if err != nil && err != sessions.ErrInvalid {
				t.Errorf("opening %q: %v", text, err)
			}
		}
		if _, err := r.Derive(sessions.ClientSecret, tenant, text); err == nil && !genuine {
			t.Errorf("a secret was derived from %q", text)
		}
	})
}
