package mcpauth

import (
	"encoding/json"
	"slices"
	"strings"
)

// checkSignIn tells, where the line is still known, what is missing or too much for people to sign in.
func (h *Handler) checkSignIn(shared *App) error {
	providers := h.announcedProviders(&shared.Options)
	p := h.announcedProtection(&shared.Options)
	if err := p.check(h.Resources); err != nil {
		return err
	}
	if !namesDev(providers) {
		return nil
	}
	if len(providers) > 1 {
		return errDevAlone
	}
	if strings.Contains(h.Issuer, "{") {
		return nil
	}
	return checkDevIssuer(h.Issuer)
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
