package sessions_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

var exampleApproval = sessions.Approval{
	ClientID: "claude", ClientLabel: "claude", ClientName: "Claude", RedirectURI: "https://claude.ai/api/mcp/auth_callback",
	RedirectHost: "claude.ai", Resource: tenant + "/github", Scopes: []string{"read", "write"}, OfflineAccess: true,
}

func TestAnApprovalIsRememberedOnEveryReplica(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		if err := a.Approve(t.Context(), ada.Key(), exampleApproval); err != nil {
			t.Fatal(err)
		}
		want := exampleApproval
		want.ApprovedAt, want.ExpiresAt = c.Now(), c.Now().Add(sessions.ApprovalLife)
		got, err := b.LoadApproval(t.Context(), ada.Key(), exampleApproval)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("LoadApproval: %+v, %v; want %+v", got, err, want)
		}

		c.Advance(time.Hour)
		second := exampleApproval
		second.Resource = tenant + "/linear"
		if err := a.Approve(t.Context(), ada.Key(), second); err != nil {
			t.Fatal(err)
		}
		all, err := b.ListApprovals(t.Context(), ada.Key())
		if err != nil || len(all) != 2 || all[0].Resource != second.Resource || all[1].Resource != exampleApproval.Resource {
			t.Fatalf("ListApprovals: %+v, %v; want both, the newest first", all, err)
		}
		for range 2 {
			if err := b.Withdraw(t.Context(), ada.Key(), all[1].ID()); err != nil {
				t.Errorf("Withdraw: %v", err)
			}
		}
		_, err = a.LoadApproval(t.Context(), ada.Key(), exampleApproval)
		wantErr(t, "LoadApproval after withdrawal", err, sessions.ErrNotFound)
		if _, err = a.LoadApproval(t.Context(), ada.Key(), second); err != nil {
			t.Errorf("the other approval: %v", err)
		}
		c.Advance(sessions.ApprovalLife)
		_, err = a.LoadApproval(t.Context(), ada.Key(), second)
		wantErr(t, "LoadApproval after 90 days", err, sessions.ErrNotFound)
		if all, err = a.ListApprovals(t.Context(), ada.Key()); err != nil || len(all) != 0 {
			t.Errorf("ListApprovals after 90 days: %+v, %v", all, err)
		}
	})
}

func TestAnApprovalCountsForExactlyWhatWasApproved(t *testing.T) {
	v, _ := memVault(t)
	if err := v.Approve(t.Context(), ada.Key(), exampleApproval); err != nil {
		t.Fatal(err)
	}
	elsewhere := *v
	elsewhere.Tenant = "https://other.example.com"
	for _, tc := range []struct {
		name   string
		vault  *sessions.Vault
		user   sessions.User
		change func(*sessions.Approval)
	}{
		{"another client", v, ada, func(a *sessions.Approval) { a.ClientID = "claude2" }},
		{"another redirect URI", v, ada, func(a *sessions.Approval) { a.RedirectURI += "/" }},
		{"another resource", v, ada, func(a *sessions.Approval) { a.Resource += "/" }},
		{"a boundary moved between two fields", v, ada, func(a *sessions.Approval) {
			a.ClientID, a.RedirectURI = a.ClientID+"h", strings.TrimPrefix(a.RedirectURI, "h")
		}},
		{"another subject", v, sessions.User{Issuer: ada.Issuer, Subject: "other", Email: ada.Email}, nil},
		{"the same subject at another provider", v, sessions.User{Issuer: "https://other-idp.example", Subject: ada.Subject}, nil},
		{"another tenant", &elsewhere, ada, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			like := exampleApproval
			if tc.change != nil {
				tc.change(&like)
			}
			_, err := tc.vault.LoadApproval(t.Context(), tc.user.Key(), like)
			wantErr(t, "LoadApproval", err, sessions.ErrNotFound)
		})
	}
}

func TestApprovalsRefuseMalformedKeysAndOutages(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	for _, user := range []string{"", "../grant", strings.Repeat("A", 32), strings.Repeat("a", 33)} {
		_, err := v.ListApprovals(t.Context(), user)
		wantErr(t, "ListApprovals of "+user, err, sessions.ErrInvalid)
		wantErr(t, "Approve for "+user, v.Approve(t.Context(), user, exampleApproval), sessions.ErrInvalid)
		_, err = v.LoadApproval(t.Context(), user, exampleApproval)
		wantErr(t, "LoadApproval of "+user, err, sessions.ErrInvalid)
		wantErr(t, "Withdraw of "+user, v.Withdraw(t.Context(), user, exampleApproval.ID()), sessions.ErrInvalid)
	}
	wantErr(t, "Withdraw of a path", v.Withdraw(t.Context(), ada.Key(), "../../keyring"), sessions.ErrInvalid)
	store.set("Get", "Put", "Delete", "List")
	wantErr(t, "Approve", v.Approve(t.Context(), ada.Key(), exampleApproval), sessions.ErrUnavailable)
	wantErr(t, "Withdraw", v.Withdraw(t.Context(), ada.Key(), exampleApproval.ID()), sessions.ErrUnavailable)
	_, err := v.LoadApproval(t.Context(), ada.Key(), exampleApproval)
	wantErr(t, "LoadApproval", err, sessions.ErrUnavailable)
	_, err = v.ListApprovals(t.Context(), ada.Key())
	wantErr(t, "ListApprovals", err, sessions.ErrUnavailable)
}
