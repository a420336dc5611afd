package sseproxy

import (
	"sync"
	"sync/atomic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Registry is the set of open streams. There is one for the whole process, over all configurations: a
// stream outlives the configuration it began under.
type Registry struct {
	mu     sync.Mutex
	open   map[*stream]struct{}
	counts counts
	ends   atomic.Uint64 // how many times streams have been ended
	recent [64]selector  // the last of them, for streams that open at that very moment
	closed error         // why no stream may be open any more
	paths  pathSessions  // that streams have announced, under any configuration
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{open: make(map[*stream]struct{}), counts: newCounts()}
}

// Count returns the number of open streams.
func (s *Registry) Count() int { return int(s.counts.all.Load()) }

// Close ends every stream, and from then on each as it opens: requests that came in at the last moment
// become streams, too. For the process's exit: a server waits for its streams, and they wait for nothing. A
// nil cause is ErrClosing.
func (s *Registry) Close(cause error) {
	if cause == nil {
		cause = ErrClosing
	}
	s.mu.Lock()
	s.closed = cause
	s.mu.Unlock()
	s.EndAll(cause)
}

// EndAll ends every stream, and those of requests under way that become one. A nil cause is ErrClosing.
func (s *Registry) EndAll(cause error) {
	if cause == nil {
		cause = ErrClosing
	}
	s.end(selector{all: true, cause: cause})
}

// EndGrant ends the streams of a grant, or of one access token: it takes what sessions.Revocations
// announces, sealed with either's ID.
func (s *Registry) EndGrant(id sessions.ID) {
	s.end(selector{grant: id, cause: ErrRevoked})
}

// EndUser ends the streams of a user, by [Identity.UserKey].
func (s *Registry) EndUser(key string) {
	if key != "" {
		s.end(selector{user: key, cause: ErrRevoked})
	}
}

// EndClient ends the streams of a client, by Identity.ClientID.
func (s *Registry) EndClient(id string) {
	if id != "" {
		s.end(selector{client: id, cause: ErrRevoked})
	}
}

// selector names streams that are to end.
type selector struct {
	all          bool
	grant        sessions.ID
	user, client string
	cause        error
}

func (e *selector) matches(st *stream) bool {
	switch {
	case e.all:
		return true
	case e.user != "":
		return e.user == st.user
	case e.client != "":
		return e.client == st.client
	}
	// The zero ID is nobody's: a static token has no grant.
	return e.grant != sessions.ID{} && (e.grant == st.grant || e.grant == st.token)
}

func (s *Registry) end(sel selector) {
	for _, st := range s.choose(sel) {
		st.end(sel.cause)
	}
}

func (s *Registry) choose(sel selector) (chosen []*stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent[s.ends.Load()%uint64(len(s.recent))] = sel
	s.ends.Add(1)
	for st := range s.open {
		if sel.matches(st) {
			chosen = append(chosen, st)
		}
	}
	return chosen
}

// add takes in a stream whose request began when ends stood at since. What ended in between ends it too:
// until now nobody could have found it here. It reports false where limits leaves no room.
func (s *Registry) add(st *stream, since uint64, limits Limits) bool {
	cause, ok := s.insert(st, since, limits)
	if cause != nil {
		st.end(cause)
	}
	return ok
}

func (s *Registry) insert(st *stream, since uint64, limits Limits) (cause error, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts.full(st.user, limits) {
		return nil, false
	}
	s.open[st] = struct{}{}
	s.counts.add(st.user)
	if s.closed != nil {
		return s.closed, true
	}
	now := s.ends.Load()
	if now-since > uint64(len(s.recent)) {
		return ErrRevoked, true // too long ago to tell; the client comes back with its token
	}
	for ; since < now; since++ {
		if e := &s.recent[since%uint64(len(s.recent))]; e.matches(st) {
			return e.cause, true
		}
	}
	return nil, true
}

func (s *Registry) remove(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[st]; ok {
		delete(s.open, st)
		s.counts.remove(st.user)
	}
}
