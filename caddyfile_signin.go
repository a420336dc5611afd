package mcpauth

import (
	"encoding/json"
	"slices"
	"strings"
)

// checkSignIn tells, where the line is still known, what is missing or too much for people to sign in.
func (h *Handler) checkSignIn(shared *App) error {
	providers := h.ProvidersRaw
	if len(providers) == 0 {
		providers = shared.ProvidersRaw
	}
	switch {
	case len(providers) == 0:
		return errNoProvider
	case namesDev(providers):
		if len(providers) > 1 {
			return errDevAlone
		}
		if !strings.Contains(h.Issuer, "{") {
			return checkDevIssuer(h.Issuer)
		}
	case h.Allow == nil && shared.Allow == nil:
		return errNoRule
	}
	return nil
}

// namesDev reports whether providers, as a Caddyfile adapts to them, hold development mode.
func namesDev(providers []json.RawMessage) bool {
	return slices.ContainsFunc(providers, func(raw json.RawMessage) bool {
		var module struct {
			Provider string `json:"provider"`
		}
		return json.Unmarshal(raw, &module) == nil && module.Provider == "dev"
	})
}
