package audit

import (
	"sync"
	"time"
)

const (
	sampleWindow = time.Minute
	// maxSamples bounds what one window remembers, and so what strangers can make the log grow by.
	maxSamples = 2048
)

// Sampler picks of many events alike the first in each minute, so that the log shows that something
// happens and nobody can flood it. The zero value is ready to use.
type Sampler struct {
	mu    sync.Mutex
	since time.Time
	seen  map[string]struct{}
}

// First reports whether key comes up for the first time in this minute. When too many different ones
// have, it is false.
func (s *Sampler) First(key string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.since); s.seen == nil || age >= sampleWindow || age < 0 {
		s.since, s.seen = now, make(map[string]struct{})
	}
	if _, ok := s.seen[key]; ok || len(s.seen) >= maxSamples {
		return false
	}
	s.seen[key] = struct{}{}
	return true
}
