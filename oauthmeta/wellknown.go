package oauthmeta

import "strings"

// Document is one of the documents that clients look for below /.well-known/.
type Document int

// The documents that WellKnown tells apart.
const (
	// NotWellKnown is a path without a ".well-known" segment.
	NotWellKnown Document = iota
	// ProtectedResourceDocument is RFC 9728 metadata.
	ProtectedResourceDocument
	// AuthorizationServerDocument is RFC 8414 metadata.
	AuthorizationServerDocument
	// OpenIDDocument is the alias for clients that try OpenID Connect Discovery.
	OpenIDDocument
	// OtherWellKnown is any other path with a ".well-known" segment.
	OtherWellKnown
)

var documents = map[string]Document{
	"oauth-protected-resource":   ProtectedResourceDocument,
	"oauth-authorization-server": AuthorizationServerDocument,
	"openid-configuration":       OpenIDDocument,
}

const wellKnownSegment = "/.well-known"

// WellKnown tells which document path asks for, and about which resource path: "" at the root, else
// "/github" and the like, without a trailing slash.
//
// Clients look in three positions: at the root, with the path inserted after the well-known string
// (RFC 8414 and RFC 9728, section 3.1), and appended to the path (OpenID Connect Discovery 1.0,
// section 4). All three are recognised for all documents, since clients mix them.
//
// A resource path that a cleaner or a proxy would turn into another one ("/a/../b", "//a") makes the
// whole OtherWellKnown: it names no resource of ours.
func WellKnown(path string) (doc Document, base string) {
	before, after, found := cutWellKnown(path)
	if !found {
		return NotWellKnown, ""
	}
	name, inserted, _ := strings.Cut(strings.TrimPrefix(after, "/"), "/")
	doc, known := documents[name]
	if !known {
		return OtherWellKnown, ""
	}
	if inserted != "" {
		inserted = "/" + trimSlash(inserted)
	}
	switch {
	case inserted == "" && plainPath(before):
		return doc, before
	case before == "" && plainPath(inserted):
		return doc, inserted
	}
	return OtherWellKnown, ""
}

// cutWellKnown splits path around its first ".well-known" segment.
func cutWellKnown(path string) (before, after string, found bool) {
	for from := 0; ; {
		i := strings.Index(path[from:], wellKnownSegment)
		if i < 0 {
			return "", "", false
		}
		start, end := from+i, from+i+len(wellKnownSegment)
		if end == len(path) || path[end] == '/' {
			return path[:start], path[end:], true
		}
		from = end
	}
}

// plainPath reports whether path is "" or consists of ordinary segments.
func plainPath(path string) bool {
	if path == "" {
		return true
	}
	if path[0] != '/' {
		return false
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		switch segment {
		case "", ".", "..", ".well-known":
			return false
		}
	}
	return true
}
