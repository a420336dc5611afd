package sseproxy

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

var (
	// ErrPathForm is a resource path that cannot be compared byte for byte.
	ErrPathForm = errors.New(`a resource path starts with "/" and has plain segments, such as "/github/*"`)
	// ErrPathOverlap is a resource path equal to, inside or around another.
	ErrPathOverlap = errors.New("resource paths overlap")
)

// Paths tells which protected resource a request path belongs to. A resource owns its path and everything
// below, on segment boundaries. Build it first, then share it: Match may run concurrently, Add may not.
//
// Match is at least as wide as the path matchers of the web server that routes the request: letters in any
// case, doubled slashes, dot segments, backslashes, path parameters and encoded forms of all these lead to
// the resource that some upstream could take them for. Whatever can reach a resource is guarded.
type Paths[T any] struct {
	resources map[string]T
	above     map[string]string // every proper ancestor of a resource, with one resource below it
	depth     int               // segments of the deepest resource
}

// NewPaths returns an empty set.
func NewPaths[T any]() *Paths[T] {
	return &Paths[T]{resources: make(map[string]T), above: make(map[string]string)}
}

// Add makes v the resource at p and below. "/github", "/github/" and "/github/*" are the same path; "/"
// and "/*" are the whole site.
func (p *Paths[T]) Add(pattern string, v T) error {
	key := strings.TrimSuffix(strings.TrimSuffix(pattern, "*"), "/")
	if pattern == "" || pattern[0] != '/' || strings.HasSuffix(pattern, "*") && !strings.HasSuffix(pattern, "/*") ||
		!plainResource(key) {
		return fmt.Errorf("adding resource path %q: %w", pattern, ErrPathForm)
	}
	key = strings.ToLower(key)
	if below, ok := p.above[key]; ok {
		return fmt.Errorf("adding resource path %q: %w: %q lies below it", pattern, ErrPathOverlap, below)
	}
	if around, _, ok := p.lookup(key); ok {
		return fmt.Errorf("adding resource path %q: %w: %q is there already", pattern, ErrPathOverlap, around+"/*")
	}
	p.resources[key] = v
	for ancestor := key; ancestor != ""; {
		ancestor = ancestor[:strings.LastIndexByte(ancestor, '/')]
		p.above[ancestor] = key
	}
	p.depth = max(p.depth, strings.Count(key, "/"))
	return nil
}

// plainResource reports whether key, "" for the whole site, has one spelling only, case apart.
func plainResource(key string) bool {
	if key == "" {
		return true
	}
	for segment := range strings.SplitSeq(key[1:], "/") {
		if segment == "" || segment[0] == '.' || segment[len(segment)-1] == '.' {
			return false
		}
		for i := range len(segment) {
			if c := segment[i]; !plainByte[c] && (c < 'A' || c > 'Z') || c == '*' {
				return false
			}
		}
	}
	return true
}

// Match returns the resource that the decoded path of a URL belongs to.
func (p *Paths[T]) Match(urlPath string) (v T, ok bool) {
	if plainPath(urlPath) {
		_, v, ok = p.lookup(urlPath)
		return v, ok
	}
	decoded := lower(urlPath)
	for range maxEncodings {
		// Cleaning without further ado is what the web server's matchers do, so that reading goes first.
		if _, v, ok = p.lookup(path.Clean("/" + decoded)); ok {
			return v, true
		}
		folded := foldSegments(decoded)
		if _, v, ok = p.lookup(path.Clean("/" + folded)); ok {
			return v, true
		}
		if _, v, ok = p.lookup(folded); ok {
			return v, true
		}
		again := unescape(decoded)
		if again == decoded {
			break
		}
		decoded = lower(again)
	}
	return v, false
}

// lookup tries p and its ancestors from the top, no deeper than any resource lies.
func (p *Paths[T]) lookup(urlPath string) (key string, v T, ok bool) {
	if v, ok = p.resources[""]; ok {
		return "", v, true
	}
	for end, depth := 0, 0; depth < p.depth && end < len(urlPath); depth++ {
		next := strings.IndexByte(urlPath[end+1:], '/')
		if next < 0 {
			end = len(urlPath)
		} else {
			end += 1 + next
		}
		if v, ok = p.resources[urlPath[:end]]; ok {
			return urlPath[:end], v, true
		}
	}
	return "", v, false
}
