package pages

import (
	"net/http"
	"unicode/utf8"
)

// RedirectKind says what stands behind the address that access is sent to.
type RedirectKind int

const (
	// RedirectHTTPS is a host that proves its name with a certificate.
	RedirectHTTPS RedirectKind = iota
	// RedirectLoopback is a port of this device, which any program on it can open.
	RedirectLoopback
	// RedirectPrivateScheme is a URI scheme such as cursor:, which any program on this device can claim.
	RedirectPrivateScheme
)

// Scope is one permission that a client asks for.
type Scope struct {
	Name, Description string
	// Includes names the permissions that come with it.
	Includes []string
}

// Consent is the question whether a client may act for a person. Every string but Action, Ticket and
// SwitchAction is shown and may be hostile.
type Consent struct {
	// Action is where the answer is posted: decision=allow or decision=deny, and Ticket as "ticket".
	Action string
	// Ticket stands for everything else. The form carries nothing that could be tampered with.
	Ticket string

	// ClientName is what the client calls itself; without one it is "an application".
	ClientName string
	// ClientHost is the verified host of a client ID metadata document. Empty means that the client
	// registered itself, and the page says that nobody checked its name.
	ClientHost string
	// Preregistered is set for a client that the operator configured; it outranks ClientHost.
	Preregistered bool

	// Unproven is set when anybody could have asked in the name of this client, and no address of its own
	// is where access will be sent. It outranks Preregistered and ClientHost.
	Unproven bool

	// RedirectHost is where access will be sent, the largest fact on the page: "claude.ai",
	// "this computer (localhost:33418)", "cursor://".
	RedirectHost string
	// RedirectKind decides the warning below RedirectHost.
	RedirectKind RedirectKind

	// UserCode is set when access goes to another device instead of an address: the code that the device
	// shows, for the person to compare. DeviceAddr is where it asked from; it may be empty.
	UserCode, DeviceAddr string

	// ResourceName and Resource name the MCP server: "GitHub tools", "https://mcp.example.com/github".
	ResourceName, Resource string
	// Scopes may be empty: the client may then use the tools of the resource.
	Scopes []Scope
	// OfflineAccess is set when the client will be able to renew its access by itself.
	OfflineAccess bool

	// Account is the e-mail address of the person signed in, empty before sign-in.
	Account string
	// SwitchAction is where decision=switch is posted, with the same Ticket, to answer with another
	// account; empty means that there is no such choice.
	SwitchAction string
	// ProviderNames are the identity providers that the person will sign in with.
	ProviderNames []string

	SiteName string
}

// consentView is Consent made safe to show, with everything decided that the template only places.
type consentView struct {
	frame
	Action, Ticket, SwitchAction string

	ClientName, ClientHost  string
	Preregistered, Unproven bool
	RedirectHost            string
	LongHost                bool
	UserCode, DeviceAddr    string
	Loopback, PrivateScheme bool
	ResourceName, Resource  string
	Scopes                  []Scope
	OfflineAccess           bool
	Account, Providers      string
}

// WriteConsent answers with the consent page, status 200.
func WriteConsent(w http.ResponseWriter, r *http.Request, v Consent) {
	write(w, r, http.StatusOK, consentPage, newConsentView(v))
}

func newConsentView(v Consent) consentView {
	view := consentView{
		frame:         newFrame("Allow access?", v.SiteName),
		Action:        v.Action,
		Ticket:        v.Ticket,
		SwitchAction:  v.SwitchAction,
		ClientName:    DisplayName(v.ClientName),
		ClientHost:    host(v.ClientHost),
		Preregistered: v.Preregistered,
		Unproven:      v.Unproven,
		RedirectHost:  host(v.RedirectHost),
		Loopback:      v.RedirectKind == RedirectLoopback,
		UserCode:      DisplayName(v.UserCode),
		DeviceAddr:    address(v.DeviceAddr),
		ResourceName:  DisplayName(v.ResourceName),
		Resource:      address(v.Resource),
		OfflineAccess: v.OfflineAccess,
		Account:       address(v.Account),
		Providers:     oneOf(v.ProviderNames),
	}
	// A kind that this package does not know is no reason to leave the warning out.
	view.PrivateScheme = v.RedirectKind != RedirectHTTPS && !view.Loopback
	// Beyond this length the address is set smaller, still larger than all other text.
	view.LongHost = utf8.RuneCountInString(view.RedirectHost) > 22
	for _, s := range v.Scopes {
		scope := Scope{Name: DisplayName(s.Name), Description: sentence(s.Description)}
		for _, name := range s.Includes {
			if name = DisplayName(name); name != "" {
				scope.Includes = append(scope.Includes, name)
			}
		}
		if scope.Name != "" || scope.Description != "" || scope.Includes != nil {
			view.Scopes = append(view.Scopes, scope)
		}
	}
	return view
}
