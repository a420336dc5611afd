package sessions

import "strings"

// Kind is one type of sealed value. Each has its own text prefix, its own derived key and its own
// associated data, so that a value of one kind never opens as another.
type Kind uint8

// The kinds. Their numbers mean nothing outside this process; prefix and key label identify them.
const (
	AccessToken        Kind = iota // bearer token of an MCP client
	RefreshToken                   // its refresh token
	AuthorizationCode              // its authorization code
	ConsentTicket                  // hidden field of the consent form
	ConsentCookie                  // ties consent tickets to one browser, before sign-in
	LoginState                     // the state sent to the identity provider
	LoginCookie                    // ties pending logins to one browser
	BrowserSession                 // cookie of a signed-in browser
	ClientID                       // dynamic registration, sealed
	ClientSecret                   // derived from the client id, not stored
	InitialAccessToken             // reserved: permission to register a client
	UserToken                      // token that a person made for scripts; see [PersonalToken]
	ChoiceTicket                   // hidden field of the page that asks for an identity provider
	LogoutTicket                   // hidden field of the page that signs out
	PortalTicket                   // hidden field of a person's own page
	DeviceCode                     // what a device without a browser polls with
	CredentialTicket               // hidden field of the page on upstream credentials
	ConnectState                   // the state sent to an upstream's authorization server
	Record                         // value at rest in the store; binary, without a prefix
	kindCount
)

// kinds gives each kind its prefix, by which people and secret scanners recognise it, and the
// label under which its key is derived. Changing either invalidates all values of that kind.
var kinds = [kindCount]struct{ prefix, label string }{
	AccessToken:        {"mcpat_", "access token"},
	RefreshToken:       {"mcprt_", "refresh token"},
	AuthorizationCode:  {"mcpac_", "authorization code"},
	ConsentTicket:      {"mcpct_", "consent ticket"},
	ConsentCookie:      {"mcpcc_", "consent cookie"},
	LoginState:         {"mcpls_", "login state"},
	LoginCookie:        {"mcplc_", "login cookie"},
	BrowserSession:     {"mcpbs_", "browser session"},
	ClientID:           {"mcpid_", "client id"},
	ClientSecret:       {"mcpcs_", "client secret"},
	InitialAccessToken: {"mcpia_", "initial access token"},
	UserToken:          {"mcput_", "user token"},
	ChoiceTicket:       {"mcpch_", "choice ticket"},
	LogoutTicket:       {"mcplo_", "logout ticket"},
	PortalTicket:       {"mcppt_", "portal ticket"},
	DeviceCode:         {"mcpdc_", "device code"},
	CredentialTicket:   {"mcpuc_", "credential ticket"},
	ConnectState:       {"mcpus_", "connect state"},
	Record:             {"", "record"},
}

// Prefix returns what every sealed text of this kind begins with; it is empty for [Record].
func (k Kind) Prefix() string {
	if k >= kindCount {
		return ""
	}
	return kinds[k].prefix
}

// textual reports whether values of this kind are texts that leave the process.
func (k Kind) textual() bool { return k < kindCount && k != Record }

// kindOf recognises a sealed text by its prefix.
func kindOf(sealed string) (Kind, bool) {
	for k := range Record {
		if strings.HasPrefix(sealed, kinds[k].prefix) {
			return k, true
		}
	}
	return 0, false
}
