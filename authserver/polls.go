package authserver

import (
	"sync"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	// maxPolls bounds how many polling devices are remembered.
	maxPolls = 10_000
	// pollLeeway is how much too early a poll may come: networks carry one faster than the one before.
	pollLeeway = time.Second
)

// polls remembers when each device has asked last. It is kept by each process for itself: a device that
// asks several replicas in turn costs a little more, and nothing else.
type polls struct {
	mu       sync.Mutex
	byDevice map[sessions.ID]poll
}

type poll struct {
	last     time.Time
	interval time.Duration
}

// tooSoon reports whether a device asks more often than it may. Each time it does, the interval grows by
// five seconds, for good (RFC 8628, section 3.5).
func (p *polls) tooSoon(device sessions.ID, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, known := p.byDevice[device]
	if !known {
		p.makeRoom()
		last.interval = pollInterval
	}
	early := known && now.Before(last.last.Add(last.interval-pollLeeway))
	if early {
		last.interval += pollInterval
	}
	last.last = now
	p.byDevice[device] = last
	return early
}

// makeRoom forgets some device when there are too many. One that is forgotten begins anew.
func (p *polls) makeRoom() {
	if p.byDevice == nil {
		p.byDevice = make(map[sessions.ID]poll)
	}
	for device := range p.byDevice {
		if len(p.byDevice) < maxPolls {
			return
		}
		delete(p.byDevice, device)
	}
}

func (p *polls) forget(device sessions.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byDevice, device)
}
