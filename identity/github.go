package identity

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	githubURL = "https://github.com"
	githubAPI = "https://api.github.com"
	// githubScopes let us read the profile, the e-mail addresses, and the memberships, and change
	// nothing.
	githubScopes = "read:user user:email read:org"
)

// GitHubConfig says how to sign people in at GitHub.
type GitHubConfig struct {
	// ID is stable and unique within a site: letters, digits, "-" and "_".
	ID string
	// Name is for people. Default: GitHub, or the host of EnterpriseURL.
	Name string

	// ClientID and ClientSecret are those of an OAuth app or a GitHub App.
	ClientID, ClientSecret string

	// Organizations, if not empty, lets in only their members, and makes groups of these
	// organizations and their teams only. They are compared without regard to case.
	Organizations []string

	// EnterpriseURL is the address of a GitHub Enterprise instance, if it is not github.com: an
	// https URL, or an http one on loopback.
	EnterpriseURL string

	// DisableRecheck throws the access token away after the sign-in.
	DisableRecheck bool

	// HTTPClient gives the transport and the timeout, if not nil. Redirects and sizes are limited
	// whatever it says. Default: 10 seconds.
	HTTPClient *http.Client
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// GitHub signs people in at GitHub, by the authorization code flow of OAuth 2.0 with PKCE and
// state. GitHub has no ID tokens: who it is, is asked of the API, with an access token that came
// straight from GitHub's token endpoint.
type GitHub struct {
	config        GitHubConfig
	organizations map[string]bool
	web, api      string
	client        *http.Client
	slots         slots
}

// NewGitHub checks the configuration. It does no I/O.
func NewGitHub(config GitHubConfig) (*GitHub, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("github: %w", err)
	}
	g := &GitHub{
		config:        config,
		organizations: make(map[string]bool, len(config.Organizations)),
		web:           githubURL,
		api:           githubAPI,
		client:        newClient(config.HTTPClient),
		slots:         newSlots(),
	}
	name := "GitHub"
	if config.EnterpriseURL != "" {
		u, _ := url.Parse(config.EnterpriseURL)
		name = u.Hostname()
		g.web = u.Scheme + "://" + strings.ToLower(u.Host)
		g.api = g.web + "/api/v3"
		if strings.HasSuffix(strings.ToLower(u.Hostname()), ".ghe.com") {
			// GitHub Enterprise Cloud with data residency has the API beside the site, as github.com.
			g.api = u.Scheme + "://api." + strings.ToLower(u.Host)
		}
	}
	if config.Name == "" {
		g.config.Name = name
	}
	if config.Now == nil {
		g.config.Now = time.Now
	}
	for _, organization := range config.Organizations {
		g.organizations[asciiLower(organization)] = true
	}
	return g, nil
}

// ID implements Provider.
func (g *GitHub) ID() string { return g.config.ID }

// Name implements Provider.
func (g *GitHub) Name() string { return g.config.Name }

// OpenGroups reports whether people choose their groups themselves: everybody may found an organization
// under any name that is free.
func (g *GitHub) OpenGroups() bool { return len(g.organizations) == 0 }

func (c GitHubConfig) check() error {
	if err := checkID(c.ID); err != nil {
		return err
	}
	if c.ClientID == "" || !printableASCII(c.ClientID) {
		return errors.New("client_id is empty or not printable ASCII; write the one of the OAuth app")
	}
	if c.ClientSecret == "" {
		return errors.New("client_secret is empty; GitHub gives one to every OAuth app")
	}
	if c.EnterpriseURL != "" {
		u, err := url.Parse(c.EnterpriseURL)
		if err != nil || checkURL(c.EnterpriseURL, true) != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery {
			return errors.New(`enterprise_url is not an https URL without a path; write, for example, "https://github.example.com"`)
		}
	}
	for _, organization := range c.Organizations {
		if !validLogin(organization) {
			return fmt.Errorf("organization %q is not the name of one; write it as it stands in its address, https://github.com/<organization>", organization)
		}
	}
	return nil
}

// validLogin reports whether s can be the name of an account, an organization or, in lower case, a
// team. A name with a slash could pass for a team of another organization.
func validLogin(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// Interface guards
var (
	_ Redirecting = (*GitHub)(nil)
	_ Rechecker   = (*GitHub)(nil)
)
