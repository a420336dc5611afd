package sseproxy

import (
	"net/http"
	"testing"
)

func TestRemoveHeaderKnowsEverySpelling(t *testing.T) {
	h := http.Header{
		"X-Api-Key": {"1"}, "X_api_key": {"2"}, "x-api-key": {"3"}, "X.Api.Key": {"4"}, "X-Api-Key-": {"5"},
		"X-Api-Keys": {"kept"}, "Api-Key": {"kept"},
	}
	RemoveHeader(h, "x-API-key")
	if len(h) != 2 || h.Get("X-Api-Keys") != "kept" || h.Get("Api-Key") != "kept" {
		t.Errorf("left: %v", h)
	}
}
