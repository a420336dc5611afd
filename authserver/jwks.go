package authserver

import (
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
)

// jwks publishes the keys that upstreams verify identity assertions with. A key is here at least an
// hour before it signs, longer than anybody keeps this document.
func (s *Server) jwks(w http.ResponseWriter, r *http.Request) {
	body, err := s.KeySet()
	if err != nil {
		writeError(w, s.storeError("listing public keys", err))
		return
	}
	oauthmeta.WriteDocument(w, r, body)
}
