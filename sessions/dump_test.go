package sessions_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/caddystore"
)

// Whoever gets hold of a copy of the store learns neither who the people are nor anything they could present.
func TestStoreHoldsNothingInTheClear(t *testing.T) {
	c := newClock()
	path := t.TempDir()
	store := caddystore.New(&certmagic.FileStorage{Path: path}, caddystore.Options{Now: c.Now})
	v := newVault(t, store, c)
	must := func(text string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}

	clientID := must(v.Ring.Seal(sessions.ClientID, tenant, []byte("registration")))
	secret := must(v.Ring.Derive(sessions.ClientSecret, tenant, clientID))
	c0 := exampleCode(c)
	c0.ClientID = clientID
	code := must(v.IssueCode(t.Context(), c0, time.Minute))
	redeemed := must(v.IssueCode(t.Context(), c0, time.Minute))
	if _, err := v.RedeemCode(t.Context(), redeemed); err != nil {
		t.Fatal(err)
	}
	g := exampleGrant()
	const upstreamToken, idToken = "upstream refresh token", "upstream ID token"
	g.ClientID = clientID
	var err error
	if g.Upstream, err = v.CreateUpstream(t.Context(), sessions.Upstream{User: ada, Secret: []byte(upstreamToken)}, time.Hour); err != nil {
		t.Fatal(err)
	}
	refresh := must(v.CreateGrant(t.Context(), g, policy))
	_, next := rotate(t, v, refresh)
	cookie := must(v.CreateBrowser(t.Context(), sessions.Browser{
		User: ada, Upstream: g.Upstream, LogoutHint: idToken, ClientAddr: "192.0.2.77", UserAgent: "Netscape",
	}, time.Hour))
	if err := v.RecordSignIn(t.Context(), ada.Key(), sessions.SignIn{ClientAddr: "192.0.2.78"}); err != nil {
		t.Fatal(err)
	}
	states := sessions.NewOneTime[login](v, sessions.LoginState, "login", time.Hour)
	state := must(states.Issue(t.Context(), login{"nonce of a login", "verifier of a login"}))
	if err := v.Spend(t.Context(), "consent", "spent ticket", time.Hour); err != nil {
		t.Fatal(err)
	}
	const personal = "a person's token for an upstream"
	storeCredential(t, v, ada.Key(), githubURI, personal)
	approval := exampleApproval
	if err := v.Approve(t.Context(), ada.Key(), approval); err != nil {
		t.Fatal(err)
	}
	a := exampleAccess(c.Now())
	access := issue(t, v, a)
	revoke(t, v.Revocations, a.ID, time.Hour)

	var dump bytes.Buffer
	records := 0
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(path, name)
		dump.WriteString(rel + "\n")
		if entry.IsDir() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 && !strings.HasPrefix(rel, "locks") {
			t.Errorf("%s has the mode %v", rel, info.Mode())
		}
		records++
		content, err := os.ReadFile(name)
		dump.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if records < 8 {
		t.Fatalf("the store holds %d files, so this test sees too little", records)
	}
	for what, value := range map[string]string{
		"the e-mail": ada.Email, "the subject": ada.Subject, "the name": ada.Name, "the user's issuer": ada.Issuer,
		"a group": ada.Groups[1], "the tenant": tenant, "the redirect URI": c0.RedirectURI,
		"the challenge": c0.Challenge, "the client id": clientID, "the client secret": secret,
		"the code": code, "the redeemed code": redeemed, "the refresh token": refresh, "the next refresh token": next,
		"the cookie": cookie, "the state": state, "the access token": access, "the spent id": "spent ticket",
		"the nonce": "nonce of a login", "the verifier": "verifier of a login", "the upstream token": upstreamToken, "the ID token": idToken, "the credential": personal,
		"a browser's address": "192.0.2.77", "a browser": "Netscape", "the address of a sign-in": "192.0.2.78",
		"a token's prefix": "mcprt", "an approved redirect URI": approval.RedirectURI, "an approved client": approval.ClientName,
	} {
		raw := []byte(value)
		for how, written := range map[string]string{
			"as it is": value, "in hexadecimal": hex.EncodeToString(raw), "in base64": base64.RawStdEncoding.EncodeToString(raw),
			"without its prefix": value[strings.IndexByte(value, '_')+1:],
		} {
			if bytes.Contains(dump.Bytes(), []byte(written)) {
				t.Errorf("the store holds %s %s", what, how)
			}
		}
	}
}
