package idp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
)

// recordTokens remembers every token the token endpoint hands out.
func (s *storage) recordTokens(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/token" {
			next.ServeHTTP(w, r)
			return
		}
		rec := &recorder{ResponseWriter: w}
		next.ServeHTTP(rec, r)
		var answer struct {
			AccessToken string `json:"access_token"`
			IDToken     string `json:"id_token"`
		}
		if json.Unmarshal(rec.body.Bytes(), &answer) != nil || answer.AccessToken == "" {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.issued = append(s.issued, answer.AccessToken, answer.IDToken)
	})
}

func (s *storage) issuedSecrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.issued)
}

type recorder struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}
