package sseproxy

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// Tagger is a keyed MAC. Its keys outlive the process and are the same on every replica, or sessions end
// with either. It is safe for concurrent use and keeps nothing of
// what it is given. A sessions.Ring is one.
type Tagger interface {
	// Tag returns the tag of message, at most 64 bytes; the same one for the same message as long as the key is current.
	Tag(message []byte) ([]byte, error)
	// Verify reports, in constant time, whether tag was made for message with any key still accepted.
	Verify(message, tag []byte) bool
}

// Sessions binds MCP sessions to the user and the resource they were opened by, without storing anything:
// the client knows a session only together with a tag, the upstream only without. A session ID is not
// authentication (MCP security best practices, "Session Hijacking"); with the tag a stolen one is worth
// nothing either.
type Sessions struct {
	// Tagger makes and checks the tags. nil leaves sessions unbound.
	Tagger Tagger
	// Tenant is the issuer, so that no session of one tenant opens at another.
	Tenant string

	paths *pathSessions
}

// maxSession bounds the session IDs that are bound; longer ones are not worth carrying in every request.
const maxSession = 2048

// maxTagged bounds the session IDs that clients send: one that is bound, a dot, and the longest tag.
const maxTagged = maxSession + 1 + 88

// sessionName is the header's name in the spelling of net/http.
const sessionName = "Mcp-Session-Id"

// sessionHeader is a session in both its spellings.
type sessionHeader struct {
	tagged string // as the client knows it
	id     string // as the upstream knows it
	loose  bool   // the URL names one that is bound to nobody, which no events may be read of
}

// What a tag is for; one made for a header is none for a URL.
const (
	forHeader byte = iota + 1
	forEndpoint
)

// messages are buffers for what is tagged.
var messages = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// tag returns the text tag over session for id.
func (s *Sessions) tag(use byte, id *Identity, session ...string) (string, error) {
	buf := messages.Get().(*[]byte)
	defer messages.Put(buf)
	*buf = s.message((*buf)[:0], use, id, session)
	tag, err := s.Tagger.Tag(*buf)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(tag), nil
}

// verify reports whether tag is one for session and id.
func (s *Sessions) verify(tag string, use byte, id *Identity, session ...string) bool {
	var raw [64]byte
	// One spelling per tag: the decoder would pass over line ends.
	if base64.RawURLEncoding.DecodedLen(len(tag)) > len(raw) || strings.ContainsAny(tag, "\r\n") {
		return false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(tag))
	if err != nil || n == 0 {
		return false
	}
	buf := messages.Get().(*[]byte)
	defer messages.Put(buf)
	*buf = s.message((*buf)[:0], use, id, session)
	return s.Tagger.Verify(*buf, raw[:n])
}

// message frames every part by its length, so that no two lists of parts make one message.
func (s *Sessions) message(b []byte, use byte, id *Identity, session []string) []byte {
	b = append(b, use)
	for _, part := range [...]string{s.Tenant, id.UserIssuer, id.Subject, id.Resource} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	for _, part := range session {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// admit checks the session that r claims to belong to and gives it the upstream's spelling. It reports
// false for one that is not bound to id.
func (s *Sessions) admit(r *http.Request, id *Identity) (session sessionHeader, ok bool) {
	if values := r.Header[sessionName]; len(values) > 0 {
		dot := strings.LastIndexByte(values[0], '.')
		if len(values) > 1 || dot < 0 {
			return session, false
		}
		session = sessionHeader{tagged: values[0], id: values[0][:dot]}
		if !s.verify(session.tagged[dot+1:], forHeader, id, session.id) {
			return session, false
		}
		values[0] = session.id
	}
	session.loose, ok = s.admitEndpoint(r, id)
	return session, ok
}

// tagHeader gives the session in an answer the client's spelling. One that cannot be tagged does not
// leave: it would be of no use to the client, and of some to a thief.
func (s *Sessions) tagHeader(h http.Header, id *Identity, known *sessionHeader) {
	values := h[sessionName]
	if len(values) == 0 {
		return
	}
	session := values[0]
	if known.id == session && known.tagged != "" {
		h[sessionName] = []string{known.tagged}
		return
	}
	if !visible(session) {
		delete(h, sessionName)
		return
	}
	tag, err := s.tag(forHeader, id, session)
	if err != nil {
		delete(h, sessionName)
		return
	}
	h[sessionName] = []string{session + "." + tag}
}

// visible reports whether session is what MCP allows for one: visible ASCII (2025-11-25, "Session Management").
func visible(session string) bool {
	for i := range len(session) {
		if session[i] < 0x21 || session[i] > 0x7e {
			return false
		}
	}
	return session != "" && len(session) <= maxSession
}

// unknownSession answers as a server that never had the session: clients then start a new one (MCP
// 2025-11-25, "Session Management", 4).
func unknownSession(w http.ResponseWriter) error {
	return writeRPCError(w, http.StatusNotFound, -32001, "Session not found")
}

// writeRPCError answers with a JSON-RPC error that belongs to no request, since no body has been read.
func writeRPCError(w http.ResponseWriter, status, code int, message string) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that went away has nobody left to tell.
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":null,"error":{"code":%d,"message":%q}}`+"\n", code, message)
	return nil
}
