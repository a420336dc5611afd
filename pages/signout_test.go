package pages

import (
	"net/http"
	"strings"
	"testing"
)

func TestSignOutAsksTheRightPerson(t *testing.T) {
	doc := parse(t, get(func(w http.ResponseWriter, r *http.Request) {
		WriteSignOut(w, r, SignOut{Action: "/oauth2/logout", Ticket: "mcplo_x", Account: "ann@example.com", SiteName: "Tools"})
	}))
	form := elements(doc, named("form"))[0]
	if attr(form, "action") != "/oauth2/logout" || attr(form, "method") != "post" || attr(field(t, doc, "ticket"), "value") != "mcplo_x" {
		t.Errorf("form %v", form.Attr)
	}
	if got := text(elements(doc, named("main"))[0]); !strings.Contains(got, "You are signed in as ann@example.com") {
		t.Errorf("the page says %q", got)
	}
	if n := len(elements(doc, named("button"))); n != 1 {
		t.Errorf("%d buttons", n)
	}
}

func TestChooseAsksForAnAddressWhereThatDecides(t *testing.T) {
	choose := func(v Choose) string {
		v.Action, v.Ticket, v.Providers = "/oauth2/choose", "mcpch_x", []Provider{{ID: "a", Name: "A"}, {ID: "b", Name: "B"}}
		return get(func(w http.ResponseWriter, r *http.Request) { WriteChoose(w, r, v) }).Body.String()
	}
	if body := choose(Choose{}); strings.Contains(body, `name="email"`) || strings.Contains(body, `role="alert"`) {
		t.Errorf("an address is asked for, or something is wrong\n%s", body)
	}
	body := choose(Choose{ByEmail: true, Error: "A cannot be reached."})
	for _, want := range []string{
		`name="email" type="email" autocomplete="username"`, `aria-describedby="error"`, `role="alert"`, "A cannot be reached.", "<title>Error: Choose how to sign in",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s\n%s", want, body)
		}
	}
	if n := strings.Count(body, `name="ticket" value="mcpch_x"`); n != 2 {
		t.Errorf("%d of 2 forms carry the ticket", n)
	}
}
