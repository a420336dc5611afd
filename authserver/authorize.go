package authserver

import (
	"errors"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxState bounds the client's state, which is carried through the whole sign-in.
const maxState = 4 << 10

// authorize is the authorization endpoint (OAuth 2.1, section 4.1.1). It writes nothing: the request
// travels on in the sealed ticket of the consent page.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	var params url.Values
	var malformed *oauthError
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		var err error
		if params, err = forms.Parse(r.URL.RawQuery); err != nil {
			malformed = invalidRequest("the query is not valid form encoding")
		}
	case http.MethodPost:
		params, malformed = readForm(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		s.problem(w, r, problem{status: http.StatusMethodNotAllowed, text: "This address is for signing in with a browser."})
		return
	}
	if malformed != nil {
		s.problem(w, r, unreadableRequest)
		return
	}

	client, redirectURI, trouble := s.identifyClient(r, params)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	req, refused := s.checkRequest(params, client, redirectURI)
	if refused != nil {
		s.redirectError(w, r, redirectURI, params.Get("state"), refused)
		return
	}
	s.askConsent(w, r, client, req)
}

// identifyClient finds the client and the redirect URI. Until both are known to belong together,
// every error stays on a page of ours: redirecting it would make this server an open redirector
// (RFC 6749, section 4.1.2.1; RFC 9700, section 4.11.2).
func (s *Server) identifyClient(r *http.Request, params url.Values) (*clients.Client, string, *problem) {
	for _, name := range []string{"client_id", "redirect_uri"} {
		if len(params[name]) > 1 {
			return nil, "", &unreadableRequest // RFC 6749, section 3.1
		}
	}
	if params.Get("client_id") == "" {
		return nil, "", &problem{
			status: http.StatusBadRequest,
			text:   "The application did not say who it is (client_id is missing).",
			advice: "Start again from the application you want to connect.",
		}
	}
	client, trouble := s.findClient(r, params.Get("client_id"))
	if trouble != nil {
		return nil, "", trouble
	}
	redirectURI := params.Get("redirect_uri")
	if redirectURI == "" && len(client.RedirectURIs) == 1 {
		redirectURI = client.RedirectURIs[0] // RFC 6749, section 3.1.2.3
	}
	if !client.Redirect(redirectURI) {
		s.recordSampled(r, audit.Event{
			Type: audit.Consent, Reason: "redirect URI is not registered", ClientID: client.Label(), ClientName: client.Name,
		})
		return nil, "", &wrongRedirect
	}
	return client, redirectURI, nil
}

func (s *Server) findClient(r *http.Request, id string) (*clients.Client, *problem) {
	client, err := s.Clients.Lookup(clients.WithSource(r.Context(), s.ClientAddr(r)), id)
	switch {
	case errors.Is(err, clients.ErrUnknown):
		return nil, &unknownClient
	case errors.Is(err, clients.ErrUnavailable), errors.Is(err, sessions.ErrUnavailable):
		s.Logger.Warn("client cannot be looked up now", zap.Error(err))
		return nil, &clientUnavailable
	case err != nil:
		return nil, s.internalProblem("looking up the client", err)
	}
	return client, nil
}

// clientOf finds the client of a request that was checked before, and checks it again: what was
// registered may have changed since, and no code leaves and no device is let in without this.
func (s *Server) clientOf(r *http.Request, req request) (*clients.Client, *problem) {
	if req.Device == nil {
		client, _, trouble := s.identifyClient(r, url.Values{"client_id": {req.ClientID}, "redirect_uri": {req.RedirectURI}})
		return client, trouble
	}
	client, trouble := s.findClient(r, req.ClientID)
	if trouble == nil && !client.May(clients.GrantDeviceCode) {
		return nil, &unknownClient
	}
	return client, trouble
}

// checkRequest decides everything that may be answered by redirecting to the client.
func (s *Server) checkRequest(params url.Values, client *clients.Client, redirectURI string) (request, *oauthError) {
	none := request{}
	if forms.Repeated(params, "resource") {
		return none, invalidRequest("a parameter is given more than once")
	}
	// A parameter without a value is one that was left out (RFC 6749, section 3.1).
	if params.Get("request") != "" {
		return none, &oauthError{code: "request_not_supported", description: "request objects are not supported"}
	}
	if params.Get("request_uri") != "" {
		return none, &oauthError{code: "request_uri_not_supported", description: "request objects are not supported"}
	}
	if params.Get("response_type") == "" {
		return none, invalidRequest("response_type is missing")
	}
	if params.Get("response_type") != "code" {
		return none, &oauthError{code: "unsupported_response_type", description: "response_type must be code"}
	}
	if mode := params.Get("response_mode"); mode != "" && mode != "query" {
		return none, invalidRequest("response_mode must be query")
	}
	if len(params.Get("state")) > maxState {
		return none, invalidRequest("state is longer than 4 KiB")
	}
	// PKCE is for every client, and plain would protect nothing (OAuth 2.1, sections 4.1.1 and 7.5).
	if params.Get("code_challenge_method") != "S256" {
		return none, invalidRequest("PKCE is required: code_challenge_method must be S256")
	}
	if !validChallenge(params.Get("code_challenge")) {
		return none, invalidRequest("PKCE is required: code_challenge must be 43 characters of base64url")
	}
	resource, refused := s.findResource(params["resource"])
	if refused != nil {
		return none, refused
	}
	scopes, refused := s.grantable(params.Get("scope"), resource)
	if refused != nil {
		return none, refused
	}
	prompts, refused := parsePrompt(params.Get("prompt"), params.Get("max_age"))
	if refused != nil {
		return none, refused
	}
	return request{
		ClientID:    client.ID,
		ClientName:  client.Name,
		RedirectURI: redirectURI,
		State:       params.Get("state"),
		Challenge:   params.Get("code_challenge"),
		Resource:    resource.URI,
		Scopes:      scopes,
		Prompt:      prompts.upstream(),
		LoginHint:   cut(params.Get("login_hint"), 254),
		prompts:     prompts,

		OfflineAccess: client.MayRefresh(),
	}, nil
}

// severalResources answers a client that was given the site's address instead of one server's.
var severalResources = invalidTarget("this site has several protected resources; connect to the address of one of them")

// findResource resolves the resource indicators of a request (RFC 8707, section 2). A token is for
// one resource, so naming several is refused rather than answered with a wider token.
func (s *Server) findResource(indicators []string) (*Resource, *oauthError) {
	var found *Resource
	for _, indicator := range indicators {
		resource := s.Resources.Find(indicator)
		if resource == nil && oauthmeta.SameResource(indicator, s.Issuer) {
			return nil, severalResources
		}
		if resource == nil {
			return nil, invalidTarget("resource names no protected resource of this server")
		}
		if found != nil && found.URI != resource.URI {
			return nil, invalidTarget("a token is for one resource; send one resource parameter")
		}
		found = resource
	}
	if found == nil {
		found = s.Resources.Default()
	}
	if found == nil {
		return nil, severalResources
	}
	return found, nil
}

func cut(s string, n int) string {
	if len(s) > n {
		return ""
	}
	return s
}
