package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func newLocal(t testing.TB) (*Local, *clock) {
	t.Helper()
	l, err := NewLocal("local", "", "https://mcp.example.com", []LocalUser{
		{Email: "Ann@Example.com", Hash: bcryptText(t, "correct horse"), Name: "Ann\n", Groups: []string{"engineering"}},
		{Email: "bob@example.com", Hash: argon2Text("battery staple")},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := newClock()
	l.now = c.now
	return l, c
}

func TestCheck(t *testing.T) {
	l, _ := newLocal(t)
	if l.ID() != "local" || l.Name() != "Password" {
		t.Errorf("got id %q and name %q", l.ID(), l.Name())
	}
	for _, tc := range []struct {
		name, email, password, want string // want: the e-mail address of the user
	}{
		{"bcrypt", "ann@example.com", "correct horse", "ann@example.com"},
		{"argon2id", "bob@example.com", "battery staple", "bob@example.com"},
		{"another case", "ANN@EXAMPLE.COM", "correct horse", "ann@example.com"},
		{"a wrong password", "ann@example.com", "correct horsf", ""},
		{"a password in another case", "ann@example.com", "Correct horse", ""},
		{"the password of somebody else", "ann@example.com", "battery staple", ""},
		{"no password", "ann@example.com", "", ""},
		{"an endless password", "ann@example.com", strings.Repeat("x", 1<<20), ""},
		{"an unknown user", "eve@example.com", "correct horse", ""},
		{"another unknown user", "mallory@example.com", "battery staple", ""},
		{"an address in a list", "ann@example.com,eve@example.com", "correct horse", ""},
		{"a look-alike", "ann@e\u0445ample.com", "correct horse", ""},
		{"nobody", "", "correct horse", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := l.Check(t.Context(), tc.name, tc.email, tc.password)
			if tc.want == "" {
				if err != ErrCredentials || u.Subject != "" {
					t.Errorf("got %+v, %v", u, err)
				}
				return
			}
			if err != nil || u.Email != tc.want || !u.EmailVerified || u.Issuer != "https://mcp.example.com" {
				t.Errorf("got %+v, %v", u, err)
			}
		})
	}
}

func TestTheUserOfCheck(t *testing.T) {
	l, _ := newLocal(t)
	u, err := l.Check(t.Context(), "", "ann@example.com", "correct horse")
	if err != nil || u.Name != "Ann" || len(u.Groups) != 1 || u.Groups[0] != "engineering" {
		t.Fatalf("got %+v, %v", u, err)
	}
	// It must stay what it is over versions: grants hang on it.
	if want := "cac622b857018c21ce9d1f2e379feaaa"; u.Subject != want {
		t.Errorf("got subject %s, want %s", u.Subject, want)
	}
	u.Groups[0] = "admin"
	if again, _ := l.Check(t.Context(), "", "ann@example.com", "correct horse"); again.Groups[0] != "engineering" {
		t.Error("a caller can change the groups of a user")
	}
}

// countingHash counts how often it is asked.
type countingHash struct {
	asked *int
	right bool
}

func (h countingHash) matches(string) bool { *h.asked++; return h.right }

// A shortcut for unknown addresses would tell who has an account by the time the answer takes.
func TestAnUnknownAddressIsHashedToo(t *testing.T) {
	l, _ := newLocal(t)
	var asked int
	for i := range l.users {
		// Even if that comparison matches, nobody is let in.
		l.users[i].hash = countingHash{&asked, true}
	}
	for i := range 20 {
		email := fmt.Sprintf("eve%d@example.com", i)
		if _, err := l.Check(t.Context(), email, email, "x"); err != ErrCredentials {
			t.Fatalf("got %v, want %v", err, ErrCredentials)
		}
		if asked != i+1 {
			t.Fatalf("%d attempts were hashed %d times", i+1, asked)
		}
	}
}

func TestCheckLimitsWrongAttempts(t *testing.T) {
	const eve, right = "203.0.113.7", "correct horse"
	try := func(t *testing.T, l *Local, addr, email, password string) time.Duration {
		t.Helper()
		_, err := l.Check(context.Background(), addr, email, password)
		var limited *RateLimitedError
		if errors.As(err, &limited) {
			if limited.RetryAfter <= 0 || limited.RetryAfter%time.Second != 0 {
				t.Errorf("got RetryAfter %v", limited.RetryAfter)
			}
			return limited.RetryAfter
		}
		if (err == nil) != (password == right) {
			t.Errorf("got %v", err)
		}
		return 0
	}
	t.Run("from one address for one user", func(t *testing.T) {
		l, c := newLocal(t)
		for range pairBurst {
			if wait := try(t, l, eve, "ann@example.com", "x"); wait != 0 {
				t.Fatal("limited too early")
			}
		}
		wait := try(t, l, eve, "ANN@example.com", right)
		if wait != pairEvery {
			t.Fatalf("must wait %v, want %v, also with the right password", wait, pairEvery)
		}
		if try(t, l, "203.0.113.8", "ann@example.com", right) != 0 {
			t.Error("the owner is kept out by what another address does")
		}
		c.advance(wait)
		if try(t, l, eve, "ann@example.com", right) != 0 {
			t.Error("still limited after the wait that was asked for")
		}
	})
	t.Run("an unknown user looks the same", func(t *testing.T) {
		l, _ := newLocal(t)
		for range pairBurst {
			try(t, l, eve, "nobody@example.com", "x")
		}
		if wait := try(t, l, eve, "nobody@example.com", "x"); wait != pairEvery {
			t.Errorf("must wait %v, want %v", wait, pairEvery)
		}
	})
	t.Run("from one address for many users", func(t *testing.T) {
		l, _ := newLocal(t)
		for i := range clientBurst {
			try(t, l, eve+":"+fmt.Sprint(1024+i), fmt.Sprintf("u%d@example.com", i), "x")
		}
		if try(t, l, eve, "ann@example.com", right) == 0 {
			t.Error("not limited")
		}
	})
	t.Run("from many addresses for one user", func(t *testing.T) {
		l, _ := newLocal(t)
		for i := range emailBurst {
			try(t, l, fmt.Sprintf("203.0.113.%d", i), "ann@example.com", "x")
		}
		if wait := try(t, l, "198.51.100.1", "ann@example.com", right); wait != emailEvery {
			t.Errorf("must wait %v, want %v", wait, emailEvery)
		}
	})
	t.Run("right passwords do not count", func(t *testing.T) {
		l, _ := newLocal(t)
		for range 3 * clientBurst {
			if try(t, l, eve, "ann@example.com", right) != 0 {
				t.Fatal("limited by right passwords")
			}
		}
	})
}

func TestCheckWaitsForItsTurn(t *testing.T) {
	l, _ := newLocal(t)
	for range cap(l.slots) {
		l.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Check(ctx, "", "ann@example.com", "correct horse"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	l.waiting.Store(int32(waitersPerSlot * cap(l.slots)))
	var limited *RateLimitedError
	if _, err := l.Check(t.Context(), "", "ann@example.com", "correct horse"); !errors.As(err, &limited) || limited.RetryAfter != busyWait {
		t.Errorf("got %v, want to be told to wait %v", err, busyWait)
	}
	l.waiting.Store(0)
	<-l.slots
	if _, err := l.Check(t.Context(), "", "ann@example.com", "correct horse"); err != nil {
		t.Error(err)
	}
	if l.waiting.Load() != 0 || len(l.slots) != cap(l.slots)-1 {
		t.Errorf("%d are waiting and %d slots are taken", l.waiting.Load(), len(l.slots))
	}
}

func TestNewLocalRefuses(t *testing.T) {
	good := bcryptText(t, "p")
	argon := argon2Text("p")
	for _, tc := range []struct {
		name  string
		users []LocalUser
		want  string
	}{
		{"no users", nil, "caddy hash-password"},
		{"the same user twice", []LocalUser{{Email: "a@b.example", Hash: good}, {Email: "A@B.example", Hash: good}}, "remove one"},
		{"a name instead of an address", []LocalUser{{Email: "ann", Hash: good}}, `"ann@example.com"`},
		{"a password instead of a hash", []LocalUser{{Email: "a@b.example", Hash: "secret password"}}, "caddy hash-password"},
		{"no hash", []LocalUser{{Email: "a@b.example"}}, "caddy hash-password"},
		{"a hash in base64", []LocalUser{{Email: "a@b.example", Hash: "JDJhJDE0JE1kSg=="}}, "base64"},
		{"a hash that was cut off", []LocalUser{{Email: "a@b.example", Hash: good[:59]}}, "caddy hash-password"},
		{"a hash with a line break", []LocalUser{{Email: "a@b.example", Hash: good[:59] + "\n"}}, "caddy hash-password"},
		{"a cost below what bcrypt has", []LocalUser{{Email: "a@b.example", Hash: "$2a$03$" + good[7:]}}, "caddy hash-password"},
		{"a cost that takes minutes", []LocalUser{{Email: "a@b.example", Hash: "$2a$17$" + good[7:]}}, "at most 16"},
		{"another argon2 version", []LocalUser{{Email: "a@b.example", Hash: strings.Replace(argon, "v=19", "v=16", 1)}}, "caddy hash-password"},
		{"argon2 without time", []LocalUser{{Email: "a@b.example", Hash: strings.Replace(argon, "t=1", "t=0", 1)}}, "caddy hash-password"},
		{"argon2 parameters in disorder", []LocalUser{{Email: "a@b.example", Hash: strings.Replace(argon, "m=8,t=1", "t=1,m=8", 1)}}, "caddy hash-password"},
		{"argon2 that takes gigabytes", []LocalUser{{Email: "a@b.example", Hash: strings.Replace(argon, "m=8", "m=4194304", 1)}}, "use at most m="},
		{"argon2 with a hash of no length", []LocalUser{{Email: "a@b.example", Hash: argon[:strings.LastIndex(argon, "$")+1]}}, "caddy hash-password"},
		{"a group with a comma", []LocalUser{{Email: "a@b.example", Hash: good, Groups: []string{"a,b"}}}, "without a comma"},
		{"too many groups", []LocalUser{{Email: "a@b.example", Hash: good, Groups: strings.Fields(strings.Repeat("g ", 201))}}, "more than 200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := NewLocal("local", "", "https://mcp.example.com", tc.users)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want it to say %q", err, tc.want)
			}
			for _, u := range tc.users {
				if u.Hash != "" && strings.Contains(err.Error(), u.Hash) {
					t.Errorf("%q tells the hash", err)
				}
			}
		})
	}
	if _, err := NewLocal("local", "", "", []LocalUser{{Email: "a@b.example", Hash: good}}); err == nil {
		t.Error("an empty issuer was accepted")
	}
}
