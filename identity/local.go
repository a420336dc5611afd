package identity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

const (
	maxPassword = 1 << 10

	// Wrong attempts from one address: many people may share it.
	clientBurst, clientEvery = 20, 3 * time.Second
	// Wrong attempts from one address for one e-mail address. It is the tightest limit, so that
	// nobody can use up the next one alone and so keep the owner out.
	pairBurst, pairEvery = 5, time.Minute
	// Wrong attempts for one e-mail address from anywhere: at most 4,320 guesses a day. Many
	// addresses together can keep its owner from signing in, but not from what is signed in.
	emailBurst, emailEvery = 20, 20 * time.Second
	throttleLimit          = 10_000

	// waitersPerSlot bounds the attempts that wait for a turn to be hashed.
	waitersPerSlot = 16
	busyWait       = 2 * time.Second
)

// LocalUser is a person whom the configuration itself knows.
type LocalUser struct {
	Email string
	// Hash is what "caddy hash-password" prints, bcrypt or argon2id.
	Hash   string
	Name   string
	Groups []string
}

// Local signs people in with passwords from the configuration. It is for small setups that have
// no identity provider.
type Local struct {
	id, name string
	issuer   string
	users    []localUser
	byEmail  map[string]int
	now      func() time.Time

	clients, pairs, emails *throttle.Limiter

	slots   chan struct{} // hashing takes a core each; the others are needed for requests
	waiting atomic.Int32
}

type localUser struct {
	User
	hash passwordHash
}

// NewLocal checks the users. issuer becomes the Issuer of their identity; their subject depends on
// their e-mail address alone, so it stays the same over restarts and on every replica.
func NewLocal(id, name, issuer string, users []LocalUser) (*Local, error) {
	if err := checkID(id); err != nil {
		return nil, fmt.Errorf("local users: %w", err)
	}
	if issuer == "" {
		return nil, errors.New("local users: issuer is empty")
	}
	if len(users) == 0 {
		return nil, errors.New(`local users: there are none; write for example "user ann@example.com <hash>" with the output of "caddy hash-password"`)
	}
	if name == "" {
		name = "Password"
	}
	slots := max(1, runtime.GOMAXPROCS(0)/2)
	l := &Local{
		id: id, name: name, issuer: issuer,
		byEmail: make(map[string]int, len(users)),
		now:     time.Now,
		clients: throttle.New(clientBurst, clientEvery, throttleLimit),
		pairs:   throttle.New(pairBurst, pairEvery, throttleLimit),
		emails:  throttle.New(emailBurst, emailEvery, throttleLimit),
		slots:   make(chan struct{}, slots),
	}
	for _, u := range users {
		if err := l.add(issuer, u); err != nil {
			return nil, fmt.Errorf("local user %q: %w", u.Email, err)
		}
	}
	return l, nil
}

func (l *Local) add(issuer string, u LocalUser) error {
	if !ValidEmail(u.Email) {
		return errEmail
	}
	email := asciiLower(u.Email)
	if _, exists := l.byEmail[email]; exists {
		return errors.New("there is another user with this e-mail address (case does not count); remove one")
	}
	hash, err := parseHash(u.Hash)
	if err != nil {
		return err
	}
	if err := checkGroups(u.Groups); err != nil {
		return err
	}
	l.byEmail[email] = len(l.users)
	l.users = append(l.users, localUser{hash: hash, User: User{
		Issuer:        issuer,
		Subject:       localSubject(email),
		Email:         email,
		EmailVerified: true,
		Name:          cleanName(u.Name),
		Groups:        append([]string(nil), u.Groups...),
	}})
	return nil
}

func checkGroups(groups []string) error {
	for _, group := range groups {
		if !ValidGroup(group) {
			return fmt.Errorf("group %q is not 1 to %d printable ASCII characters without a comma", group, maxGroupBytes)
		}
	}
	if len(groups) > maxGroups {
		return fmt.Errorf("more than %d groups", maxGroups)
	}
	return nil
}

func localSubject(email string) string {
	sum := sha256.Sum256([]byte("local user\x00" + email))
	return hex.EncodeToString(sum[:16])
}

// ID implements Provider.
func (l *Local) ID() string { return l.id }

// Name implements Provider.
func (l *Local) Name() string { return l.name }

// People implements Roster.
func (l *Local) People() (issuer string, people []User) {
	for _, u := range l.users {
		user := u.User
		user.Groups = append([]string(nil), user.Groups...)
		people = append(people, user)
	}
	return l.issuer, people
}

// Check implements Password. Only wrong attempts count against the limits, so people behind one
// address do not hinder each other.
func (l *Local) Check(ctx context.Context, clientAddr, email, password string) (User, error) {
	now, client := l.now(), throttle.AddressKey(clientAddr)
	if wait := l.clients.Take(client, now); wait > 0 {
		return User{}, rateLimited(wait)
	}
	// Neither is a secret: that the time tells them apart from others says nothing about users.
	if !ValidEmail(email) || password == "" || len(password) > maxPassword {
		return User{}, ErrCredentials
	}
	email = asciiLower(email)

	release, err := l.turn(ctx)
	if err != nil {
		l.clients.GiveBack(client)
		return User{}, err
	}
	defer release()
	// Only those whose turn it is get an entry by e-mail address: pushing somebody's entry out
	// takes as many hashes as there are entries, which is slower than waiting for the limit.
	pair := email + " " + client
	if wait := l.pairs.Take(pair, now); wait > 0 {
		return User{}, rateLimited(wait)
	}
	if wait := l.emails.Take(email, now); wait > 0 {
		return User{}, rateLimited(wait)
	}
	user, ok := l.compare(email, password)
	if !ok {
		return User{}, ErrCredentials
	}
	l.clients.GiveBack(client)
	l.pairs.GiveBack(pair)
	l.emails.GiveBack(email)
	return user, nil
}

// compare hashes the password once for every e-mail address. An unknown one is compared with the
// hash of some user, always the same one, so that answering takes as long as for a known one
// whatever algorithms and costs the users have.
func (l *Local) compare(email, password string) (User, bool) {
	i, known := l.byEmail[email]
	if !known {
		sum := sha256.Sum256([]byte(email))
		i = int(binary.BigEndian.Uint64(sum[:]) % uint64(len(l.users)))
	}
	if matches := l.users[i].hash.matches(password); !matches || !known {
		return User{}, false
	}
	user := l.users[i].User
	user.Groups = append([]string(nil), user.Groups...)
	return user, true
}

// turn waits until a password may be hashed.
func (l *Local) turn(ctx context.Context) (release func(), err error) {
	defer l.waiting.Add(-1)
	if int(l.waiting.Add(1)) > waitersPerSlot*cap(l.slots) {
		return nil, rateLimited(busyWait)
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to check a password: %w", ctx.Err())
	}
}

func rateLimited(wait time.Duration) error {
	return &RateLimitedError{RetryAfter: (wait + time.Second - 1).Truncate(time.Second)}
}

// Interface guards
var (
	_ Password = (*Local)(nil)
	_ error    = (*RateLimitedError)(nil)
)
