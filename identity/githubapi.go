package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

const (
	githubPage = 100 // entries of a page, the most there are
	// maxGitHubPages bounds each listing: 500 addresses, organizations or teams of one person.
	maxGitHubPages = 5
)

type githubEmail struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

type githubOrganization struct {
	Login string `json:"login"`
}

type githubTeam struct {
	Slug         string             `json:"slug"`
	Organization githubOrganization `json:"organization"`
}

// user asks the API who the owner of an access token is.
func (g *GitHub) user(ctx context.Context, accessToken string) (User, error) {
	var account struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Name  string `json:"name"`
	}
	if err := g.get(ctx, "/user", accessToken, &account); err != nil {
		return User{}, err
	}
	// The number stays when the account is renamed; the login may be somebody else's tomorrow.
	if account.ID <= 0 {
		return User{}, fmt.Errorf("%w: account has no id", ErrRefused)
	}
	u := User{Issuer: g.web, Subject: strconv.FormatInt(account.ID, 10), Name: cleanName(account.Name)}
	if u.Name == "" {
		u.Name = cleanName(account.Login)
	}
	organizations, err := listGitHub[githubOrganization](ctx, g, "/user/orgs", accessToken)
	if err != nil {
		return User{}, err
	}
	for _, o := range organizations {
		if organization := asciiLower(o.Login); g.counts(organization) {
			u.addGroup(organization)
		}
	}
	if len(g.organizations) > 0 && len(u.Groups) == 0 {
		return User{}, fmt.Errorf("%w: account is in none of the required organizations", ErrDenied)
	}
	teams, err := listGitHub[githubTeam](ctx, g, "/user/teams", accessToken)
	if err != nil {
		return User{}, err
	}
	for _, t := range teams {
		organization, team := asciiLower(t.Organization.Login), asciiLower(t.Slug)
		// A team counts together with its organization only, which is where membership is granted.
		if validLogin(team) && slices.Contains(u.Groups, organization) {
			u.addGroup(organization + "/" + team)
		}
	}
	return u, g.setEmail(ctx, accessToken, &u)
}

// counts tells whether an organization becomes a group.
func (g *GitHub) counts(organization string) bool {
	return validLogin(organization) && (len(g.organizations) == 0 || g.organizations[organization])
}

func (u *User) addGroup(group string) {
	if len(u.Groups) < maxGroups && ValidGroup(group) && !slices.Contains(u.Groups, group) {
		u.Groups = append(u.Groups, group)
	}
}

// setEmail takes the primary address. The profile has an address too, which people choose to show
// and which nobody has verified.
func (g *GitHub) setEmail(ctx context.Context, accessToken string, u *User) error {
	emails, err := listGitHub[githubEmail](ctx, g, "/user/emails", accessToken)
	if err != nil {
		return err
	}
	found := false
	for _, e := range emails {
		if !e.Primary {
			continue
		}
		if found {
			return fmt.Errorf("%w: account has two primary e-mail addresses", ErrRefused)
		}
		found = true
		if local, domain, err := ParseEmail(e.Email); err == nil {
			u.Email, u.EmailVerified = local+"@"+domain, e.Verified
		}
	}
	return nil
}

// listGitHub reads a listing to its end. Pages are counted, not followed by the Link header: where
// the next request goes is not the answer's to say.
func listGitHub[T any](ctx context.Context, g *GitHub, path, accessToken string) ([]T, error) {
	var all []T
	for page := 1; page <= maxGitHubPages; page++ {
		var entries []T
		where := path + "?per_page=" + strconv.Itoa(githubPage) + "&page=" + strconv.Itoa(page)
		if err := g.get(ctx, where, accessToken, &entries); err != nil {
			return nil, err
		}
		if len(entries) > githubPage {
			return nil, fmt.Errorf("%w: listing %s: page has more entries than asked for", ErrRefused, path)
		}
		all = append(all, entries...)
		if len(entries) < githubPage {
			break
		}
	}
	return all, nil
}

// get asks the API. A token that it does not accept is ErrDenied, since it did before; everything
// else, a rate limit or a missing permission included, is an answer that could not be had.
func (g *GitHub) get(ctx context.Context, path, accessToken string, into any) error {
	err := fetchJSON(ctx, g.client, g.api+path, accessToken, into)
	var status statusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status) && status == http.StatusUnauthorized:
		return fmt.Errorf("%w: access token is not valid any more", ErrDenied)
	case errors.As(err, &status) && (status == http.StatusForbidden || status == http.StatusNotFound):
		return fmt.Errorf("%w: reading %s: %w (a rate limit, or a GitHub App without the permission to read e-mail addresses and organization members)",
			ErrUnavailable, path, err)
	}
	return fmt.Errorf("%w: reading %s: %w", ErrUnavailable, path, err)
}
