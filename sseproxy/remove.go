package sseproxy

import "net/http"

// RemoveHeader removes a header in every spelling that some upstream could take for it. What a client
// sends under the name of a header that is set for it must not arrive beside that.
func RemoveHeader(h http.Header, name string) {
	var want, buf [maxName]byte
	folded := string(foldName(&want, name))
	for other := range h {
		if string(foldName(&buf, other)) == folded {
			delete(h, other)
		}
	}
}
