//go:build !race

// The race detector makes sync.Pool forget at random, so allocations are counted without it.

package mcpauth

import "testing"

// On the way of a request that is let through nothing may grow unnoticed: what the token says, the room
// for the request with the copy that the next handler gets, its context with the function that ends it,
// and two for the placeholders.
func TestAllocationsOfARequest(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler *Handler
	}{
		{"with an issuer", newTestHandler(t)},
		{"without an issuer", newDerivedHandler(t)},
		{"with many resources", newTestHandler(t, manyResources(1000)...)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bare, guarded := toolCall(t, tc.handler)
			if n := testing.AllocsPerRun(200, guarded) - testing.AllocsPerRun(200, bare); n > 6 {
				t.Errorf("%v allocations, want at most 6", n)
			}
		})
	}
}
