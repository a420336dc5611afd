package sseproxy

import "net/http"

// ID names a grant or an access token.
type ID = [16]byte

func stripCookies(http.Header) {}
