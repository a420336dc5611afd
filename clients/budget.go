package clients

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	sourceRate, sourceBurst = rate.Limit(1.0 / 6), 10 // one in six seconds
	totalRate, totalBurst   = rate.Limit(2), 60
	maxSources              = 4096
)

type sourceKey struct{}

// WithSource returns a context for a request from the client address addr, with or without a port.
// What such requests make the server fetch is limited per address.
func WithSource(ctx context.Context, addr string) context.Context {
	return context.WithValue(ctx, sourceKey{}, addr)
}

// budget limits how often strangers make the server fetch something, each of them and all together.
type budget struct {
	now   func() time.Time
	total *rate.Limiter

	mu      sync.Mutex
	sources *lru[*rate.Limiter]
}

func newBudget(now func() time.Time) *budget {
	return &budget{now: now, total: rate.NewLimiter(totalRate, totalBurst), sources: newLRU[*rate.Limiter](maxSources)}
}

// spendSource reports whether the source of ctx may cause one more fetch. Without a source only the
// total is limited.
func (b *budget) spendSource(ctx context.Context) bool {
	addr, _ := ctx.Value(sourceKey{}).(string)
	if addr == "" {
		return true
	}
	key := sourceNetwork(addr)
	b.mu.Lock()
	defer b.mu.Unlock()
	limiter, ok := b.sources.get(key)
	if !ok {
		limiter = rate.NewLimiter(sourceRate, sourceBurst)
		b.sources.put(key, limiter)
	}
	return limiter.AllowN(b.now(), 1)
}

func (b *budget) spendTotal() bool { return b.total.AllowN(b.now(), 1) }

// sourceNetwork is whom one limit is for: an IPv4 address, or the IPv6 network that one subscriber has
// at least.
func sourceNetwork(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		ap, err := netip.ParseAddrPort(addr)
		if err != nil {
			return "unknown"
		}
		ip = ap.Addr()
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}
