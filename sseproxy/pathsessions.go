package sseproxy

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
)

// maxPathSessions bounds how many directories are remembered.
const maxPathSessions = 1024

// pathSessions are the directories below which servers of the HTTP+SSE transport have announced endpoints
// whose sessions are named by the path alone. Nothing in such an address tells that it names a session, so
// that has to be learned. A session lives as long as its stream: where that ran through this process, a
// restart forgets both. Another replica knows of the directory once a stream has been opened there.
type pathSessions struct {
	mu    sync.Mutex // of those who learn
	known atomic.Pointer[map[string]bool]
}

func directory(resource, path string) string {
	return resource + "\x00" + path[:strings.LastIndexByte(path, '/')+1]
}

// learn remembers the directory of an endpoint, if its last segment is an ID.
func (p *pathSessions) learn(resource, path string) {
	if !isIdentifier(path[strings.LastIndexByte(path, '/')+1:]) {
		return
	}
	key := directory(resource, path)
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.known.Load()
	if known == nil {
		known = new(map[string]bool)
	}
	if (*known)[key] || len(*known) >= maxPathSessions {
		return
	}
	more := maps.Clone(*known)
	if more == nil {
		more = make(map[string]bool)
	}
	more[key] = true
	p.known.Store(&more)
}

// name reports whether a message to path is one to a session.
func (p *pathSessions) name(resource, path string) bool {
	known := p.known.Load()
	return known != nil && (*known)[directory(resource, path)]
}

// isIdentifier reports whether a segment is more likely to have been made up by a program than by a person.
func isIdentifier(segment string) bool {
	return len(segment) >= 16 && strings.ContainsAny(segment, "0123456789") && !strings.ContainsAny(segment, ".")
}

// learnEndpoint notes how the endpoint that an upstream announces is spelled before and behind whatever
// takes a prefix off: the guard may stand on either side.
func (p *pathSessions) learnEndpoint(resource string, base, uri string) {
	from, err := url.Parse(base)
	if err != nil {
		return
	}
	endpoint, err := from.Parse(uri)
	if err != nil {
		return
	}
	if _, _, named := splitQuery(endpoint.RawQuery); !named {
		p.learn(resource, endpoint.Path)
	}
}

// inPath reports whether the path of r names a session.
func (s *Sessions) inPath(r *http.Request, id *Identity) bool {
	return s.paths != nil && r.Method != http.MethodGet && r.Method != http.MethodHead && s.paths.name(id.Resource, r.URL.Path)
}
