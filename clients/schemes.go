package clients

import (
	"errors"
	"slices"
	"strings"
)

// refusedSchemes run script, read local files or start other programs in the browser of whoever
// approves the consent page. No configuration allows them.
var refusedSchemes = []string{
	"about", "ar", "blob", "chrome", "content", "data", "feed", "file", "filesystem", "ftp", "help",
	"http", "https", "intent", "jar", "javascript", "livescript", "mailto", "mocha", "ms-appinstaller",
	"ms-msdt", "ms-search", "res", "resource", "search-ms", "shell", "sms", "tel", "urn", "vbscript",
	"view-source", "ws", "wss", "wyciwyg", "x-javascript",
}

// clientSchemes are the private-use schemes under which MCP clients take their callbacks. RFC 8252,
// section 7.1, asks for reverse domain names, which need no entry here; these did otherwise.
var clientSchemes = schemes{
	"antigravity", "claude", "code-oss", "cursor", "goose", "kiro", "mcpjam", "raycast", "trae",
	"vscode", "vscode-insiders", "vscodium", "warp", "windsurf", "windsurf-next", "zed",
}

// schemes are private-use schemes that are allowed beside the reverse domain names.
type schemes []string

// newSchemes returns the built-in schemes and those that the operator added.
func newSchemes(added []string) schemes {
	all := slices.Clone(clientSchemes)
	for _, scheme := range added {
		all = append(all, strings.ToLower(scheme))
	}
	return all
}

// CheckScheme reports why scheme cannot be configured as a private-use scheme for redirects.
func CheckScheme(scheme string) error {
	switch {
	case !validScheme(scheme):
		return errors.New(`a scheme is written without "://", in lower-case letters, digits, "+", "-" and "."`)
	case slices.Contains(refusedSchemes, scheme):
		return errors.New("this scheme is never allowed in a redirect URI: a browser would run or open what it names")
	}
	return nil
}

func (s schemes) allow(scheme string) bool {
	if slices.Contains(refusedSchemes, scheme) {
		return false
	}
	return slices.Contains(s, scheme) || slices.Contains(clientSchemes, scheme) || reverseDomain(scheme)
}

// reverseDomain reports whether scheme looks like a domain name written backwards.
func reverseDomain(scheme string) bool {
	if !strings.Contains(scheme, ".") {
		return false
	}
	for label := range strings.SplitSeq(scheme, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// validScheme follows RFC 3986, section 3.1, in lower case.
func validScheme(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}
