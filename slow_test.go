package mcpauth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// impatient notes the read deadlines of a connection.
type impatient struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (i *impatient) SetReadDeadline(t time.Time) error {
	i.set = append(i.set, t)
	return nil
}

// A body that trickles must not hold an endpoint's connection, whether the endpoint reads it or not.
func TestSlowBodiesAreBoundAtEveryEndpoint(t *testing.T) {
	h := newTestHandler(t)
	for _, path := range []string{
		"/oauth2/token", "/oauth2/register", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/device_authorization", "/oauth2/jwks",
		"/oauth2/auth", "/oauth2/consent", "/oauth2/login", "/oauth2/device", "/oauth2/logout", "/my", "/my/tokens",
	} {
		r, _ := request("POST", testIssuer+path, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		with := httptest.NewRequest("POST", testIssuer+path, strings.NewReader("a=1"))
		r.Body, r.ContentLength = with.Body, with.ContentLength
		w := &impatient{ResponseRecorder: httptest.NewRecorder()}
		if err := h.ServeHTTP(w, r, new(upstream)); err != nil {
			t.Fatal(err)
		}
		if len(w.set) == 0 || time.Until(w.set[0]) > 10*time.Second || time.Until(w.set[0]) < 5*time.Second {
			t.Errorf("%s: read deadlines %v", path, w.set)
		}
	}
}
