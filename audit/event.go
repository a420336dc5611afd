package audit

// Event is one decision. Fields that do not apply stay empty and are left out of the record.
type Event struct {
	// What was decided about; one of the constants of this package.
	Type Type

	// Whether it came to pass. A refusal is recorded with its Reason.
	Allowed bool

	// Why it was refused, or which rule allowed it, in the words of the configuration.
	Reason string

	// Who brought it about, where that is not clear from the type.
	By Actor

	// The person: subject and e-mail address as the identity provider named them.
	Subject, Email string

	// The OAuth client: its label and the name it gave itself.
	ClientID, ClientName string

	// The protected resource's identifier.
	Resource string

	// The identity provider's id in the configuration.
	Provider string

	// The grant's id. It identifies a refresh family and opens nothing.
	Grant string

	// The name by which a token that is no part of a grant is listed: that of a service token in the
	// configuration, the label of one that a person made. It opens nothing.
	Credential string

	// The network address of the person's browser or of the client.
	ClientAddr string
}

// Type names a kind of decision.
type Type string

// The decisions that are recorded.
const (
	// SignIn is somebody coming in, or being turned away, at the identity provider or the allow-list.
	SignIn Type = "sign_in"
	// SignOut is the end of a browser's session.
	SignOut Type = "sign_out"
	// Consent is a person's answer for a client, or an earlier one that counted again.
	Consent Type = "consent"
	// ConsentWithdrawn is a remembered consent that counts no more.
	ConsentWithdrawn Type = "consent_withdrawn"
	// Registration is a client that registered itself, or may not.
	Registration Type = "client_registration"
	// ClientAuthentication is a client that could not prove who it is.
	ClientAuthentication Type = "client_authentication"
	// TokenIssued is the first access token of a grant, or why there is none.
	TokenIssued Type = "token_issued"
	// TokenRefreshed is a further one.
	TokenRefreshed Type = "token_refreshed"
	// CodeReplayed is an authorization code that was used twice; its grant ended.
	CodeReplayed Type = "code_replayed"
	// RefreshReplayed is a refresh token that was used long after its successor; its grant ended.
	RefreshReplayed Type = "refresh_token_replayed"
	// Revocation is the end of a grant or of a single token before its time.
	Revocation Type = "revocation"
	// CredentialChanged is a credential that a person made, stored or removed.
	CredentialChanged Type = "credential_changed"
	// CredentialRefresh is a credential for an upstream that could not be refreshed.
	CredentialRefresh Type = "credential_refresh"
	// TokenUsed is a token outside of any grant being used: the first time in each minute.
	TokenUsed Type = "token_used"
	// AccessDenied is a request that a rule kept from a protected resource. Of many alike the first in
	// each minute is recorded.
	AccessDenied Type = "access_denied"
	// DeviceRequested is a device that asked for a code.
	DeviceRequested Type = "device_requested"
	// DeviceCodeEntered is a person who typed one in that does not exist.
	DeviceCodeEntered Type = "device_code_entered"
)

// Types lists the decisions that are recorded.
func Types() []Type {
	return []Type{
		SignIn, SignOut, Consent, ConsentWithdrawn, Registration, ClientAuthentication, TokenIssued, TokenRefreshed,
		CodeReplayed, RefreshReplayed, Revocation, CredentialChanged, CredentialRefresh, TokenUsed, AccessDenied, DeviceRequested, DeviceCodeEntered,
	}
}

// Actor says who brought a decision about.
type Actor string

// Who ends things before their time.
const (
	ByClient   Actor = "client"
	ByPerson   Actor = "person"
	ByOperator Actor = "operator" // by changing the configuration
	ByProvider Actor = "provider" // the identity provider
)
