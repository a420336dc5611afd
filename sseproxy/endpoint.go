package sseproxy

import (
	"net/http"
	"net/url"
	"strings"
)

// tagParameter carries the tag of a session of the HTTP+SSE transport (MCP 2024-11-05), whose sessions
// are named by the URL that messages are posted to.
const tagParameter = "mcp_session_tag"

// admitEndpoint checks the tag of a message's URL and takes it out. A URL that names a session by one of
// the usual parameters, or by its path, must have one; a URL that names none needs none. So must a URL that
// a stream is read from: some servers let a client come back to its session by a GET. Any other GET may name what it
// likes, as long as its answer is no stream of events; loose says so.
func (s *Sessions) admitEndpoint(r *http.Request, id *Identity) (loose, ok bool) {
	query, inPath := r.URL.RawQuery, s.inPath(r, id)
	if query == "" {
		return false, !inPath
	}
	rest, tags, named := splitQuery(query)
	if len(tags) == 0 {
		if reads := r.Method == http.MethodGet || r.Method == http.MethodHead; named && reads && !wantsStream(r) {
			return true, true
		}
		return false, !named && !inPath
	}
	if len(tags) > 1 || !s.verify(tags[0], forEndpoint, id, endpointParts(r.URL.Path, rest)...) {
		return false, false
	}
	r.URL.RawQuery = rest
	r.RequestURI = r.URL.RequestURI()
	return false, true
}

// splitQuery takes our parameter out of a query and leaves the rest byte for byte. named tells whether
// some server would find the ID of a session in it.
func splitQuery(query string) (rest string, tags []string, named bool) {
	kept := make([]string, 0, 8)
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key == tagParameter {
			tags = append(tags, value)
			continue
		}
		kept = append(kept, pair)
		for part := range strings.SplitSeq(pair, ";") { // to some servers a separator too
			key, _, _ := strings.Cut(part, "=")
			named = named || namesSession(key)
		}
	}
	return strings.Join(kept, "&"), tags, named
}

// namesSession reports whether a parameter is called sessionId, session_id, mcp-session-id or the like.
func namesSession(key string) bool {
	letters := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r
		}
		return -1
	}, lower(unescape(key)))
	return strings.HasSuffix(letters, "sessionid")
}

// endpointParts is what is tagged of an endpoint: the last segment of its path and its parameters, all
// decoded. What is before that segment may change on the way, where a proxy adds or removes a prefix.
func endpointParts(path, query string) []string {
	parts := []string{path[strings.LastIndexByte(path, '/')+1:]}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		parts = append(parts, unescape(strings.ReplaceAll(key, "+", " ")), unescape(strings.ReplaceAll(value, "+", " ")))
	}
	return parts
}

// tagURI adds the tag to the endpoint that is announced on a stream at streamPath. Everything else of the
// URI stays as it is.
func (s *Sessions) tagURI(uri, streamPath string, id *Identity) (string, bool) {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Opaque != "" || strings.Contains(uri, tagParameter+"=") {
		return "", false
	}
	path := parsed.Path
	if path == "" && parsed.Host == "" {
		path = streamPath
	}
	tag, err := s.tag(forEndpoint, id, endpointParts(path, parsed.RawQuery)...)
	if err != nil {
		return "", false
	}
	uri, fragment, hasFragment := strings.Cut(uri, "#")
	switch {
	case !strings.Contains(uri, "?"):
		uri += "?"
	case parsed.RawQuery != "":
		uri += "&"
	}
	uri += tagParameter + "=" + tag
	if hasFragment {
		uri += "#" + fragment
	}
	return uri, true
}

// rebase makes the endpoint that an upstream announces one that reaches it through the edge. The upstream
// knows its own paths, and perhaps its own address; the client posts to where it listens, whose scheme and
// host it demands anyway. prefix is what was taken off the path on the way, which left forwarded.
func rebase(uri, prefix, forwarded string) string {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Opaque != "" || parsed.Scheme != "" && parsed.Scheme != "http" && parsed.Scheme != "https" {
		return uri
	}
	if _, rest, ok := strings.Cut(uri, "//"); ok && (parsed.Host != "" || strings.HasPrefix(uri, "//")) {
		uri = "/"
		if start := strings.IndexAny(rest, "/?#"); start >= 0 {
			uri += strings.TrimLeft(rest[start:], "/") // two slashes would make the next name a host
		}
	}
	switch {
	case !strings.HasPrefix(uri, "/"):
		if prefix != "" && forwarded == "/" && uri != "" && uri[0] != '?' && uri[0] != '#' {
			// Relative to "/" for the upstream, and for a client that asked for the prefix without a slash
			// relative to what is above it.
			return prefix + "/" + uri
		}
		return uri
	case knowsPrefix(uri, prefix, forwarded):
		return uri
	}
	return prefix + uri
}

// knowsPrefix reports whether the upstream has put the prefix there itself, being told of it, and has not
// just a path of its own that begins alike: then its other paths do, too.
func knowsPrefix(uri, prefix, forwarded string) bool {
	if strings.HasPrefix(forwarded, prefix+"/") {
		prefix += prefix
	}
	return strings.HasPrefix(uri, prefix+"/")
}

// strippedPrefix is what the path that the client asked for has in front of the one that the upstream got,
// escaped.
func strippedPrefix(requested, forwarded string) string {
	if forwarded == "/" && !strings.HasSuffix(requested, "/") {
		forwarded = ""
	} else if !strings.HasPrefix(forwarded, "/") {
		return ""
	}
	prefix, ok := strings.CutSuffix(requested, forwarded)
	if !ok || !strings.HasPrefix(prefix, "/") || strings.HasPrefix(prefix, "//") || strings.HasSuffix(prefix, "/") {
		return ""
	}
	return (&url.URL{Path: prefix}).EscapedPath()
}

// wantPlain asks the upstream for an event stream without compression, since its first event must be read.
// MCP advises against compressing streams anyway.
func (s *Sessions) wantPlain(r *http.Request) {
	if r.Method == http.MethodGet && strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/event-stream") {
		r.Header["Accept-Encoding"] = []string{"identity"}
	}
}
