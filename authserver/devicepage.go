package authserver

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

// device is the verification page (RFC 8628, section 3.3). A link with the code in it fills the form in
// and does nothing else: the person still says that it is the code they see (section 3.3.1).
func (s *Server) device(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.enterCode(w, r)
		return
	}
	params, err := forms.Parse(r.URL.RawQuery)
	if err != nil || forms.Repeated(params) {
		s.problem(w, r, unreadableRequest)
		return
	}
	if _, err := s.forms.Browser(w, r); err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	code, _ := sessions.ParseUserCode(params.Get("user_code"))
	s.askCode(w, r, http.StatusOK, pages.Device{Code: code.String()})
}

func (s *Server) askCode(w http.ResponseWriter, r *http.Request, status int, view pages.Device) {
	view.Action, view.SiteName = DevicePath, s.SiteName
	pages.WriteDevice(w, r, status, view)
}

// enterCode takes a code that a person typed and goes on to the consent page.
func (s *Server) enterCode(w http.ResponseWriter, r *http.Request) {
	form, trouble := s.readOwnForm(w, r)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	typed := form.Get("user_code")
	code, ok := sessions.ParseUserCode(typed)
	if !ok {
		s.askCode(w, r, http.StatusBadRequest, pages.Device{
			Code: cut(typed, 32), Error: "This is not a code. It has eight letters and looks like BCDF-GHJK.",
		})
		return
	}
	browser, known := s.forms.KnownBrowser(r)
	if !known {
		// Whoever leaves the cookie out could otherwise begin anew with each guess.
		if _, err := s.forms.Browser(w, r); err != nil {
			s.problem(w, r, s.sealingProblem(err))
			return
		}
		s.askCode(w, r, http.StatusBadRequest, pages.Device{Code: code.String(), Error: "Please confirm the code once more."})
		return
	}
	found, wait, err := s.guess(r, browser, code)
	switch {
	case wait > 0:
		s.askCode(w, r, http.StatusTooManyRequests, pages.Device{Error: "Too many wrong codes.", RetryAfter: wait})
		return
	case errors.Is(err, sessions.ErrNotFound):
		s.askCode(w, r, http.StatusNotFound, pages.Device{
			Code: code.String(), Error: "No device is waiting with this code. Compare it with your device; it may also have expired.",
		})
		return
	case err != nil:
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	ref := found.Ref()
	req := request{ClientID: found.ClientID, Resource: found.Resource, Scopes: found.Scopes, Device: &ref, DeviceAddr: found.ClientAddr}
	client, trouble := s.clientOf(r, req)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	req.OfflineAccess = client.MayRefresh()
	s.askConsent(w, r, client, req)
}

// guess looks a code up, as often as the person's address and browser may be wrong.
func (s *Server) guess(r *http.Request, browser sessions.ID, code sessions.UserCode) (found sessions.Device, wait time.Duration, err error) {
	address, now := throttle.AddressKey(s.ClientAddr(r)), s.Now()
	if wait = s.devices.guesses.Take(address, now); wait > 0 {
		return found, wait, nil
	}
	if wait = s.devices.browsers.Take(browser.String(), now); wait > 0 {
		return found, wait, nil
	}
	found, err = s.Vault.FindDevice(r.Context(), code)
	if errors.Is(err, sessions.ErrNotFound) {
		s.Audit.Record(r.Context(), audit.Event{Type: audit.DeviceCodeEntered, Reason: "no such code", ClientAddr: s.ClientAddr(r)})
		return found, 0, err
	}
	s.devices.guesses.GiveBack(address)
	s.devices.browsers.GiveBack(browser.String())
	return found, 0, err
}

// deviceDecided ends the browser leg of a device: it learns the decision when it polls next.
func (s *Server) deviceDecided(w http.ResponseWriter, r *http.Request, err error, done pages.Message) {
	switch {
	case errors.Is(err, sessions.ErrNotFound):
		s.problem(w, r, deviceGone)
	case err != nil:
		s.problem(w, r, s.sealingProblem(err))
	default:
		done.SiteName = s.SiteName
		pages.WriteMessage(w, r, http.StatusOK, done)
	}
}

func (s *Server) allowDevice(w http.ResponseWriter, r *http.Request, client *clients.Client, req request, browser *sessions.Browser) {
	name := pages.DisplayName(client.Name)
	if name == "" {
		name = "The application"
	}
	err := s.Vault.AllowDevice(r.Context(), *req.Device, *browser, req.OfflineAccess)
	s.deviceDecided(w, r, err, pages.Message{
		Title:  "You can return to your device",
		Text:   name + " on the device with the code " + req.Device.UserCode.String() + " is connected in a moment.",
		Advice: "You can close this window.",
	})
}

func (s *Server) denyDevice(w http.ResponseWriter, r *http.Request, req request) {
	err := s.Vault.DenyDevice(r.Context(), *req.Device)
	s.deviceDecided(w, r, err, pages.Message{
		Title:  "The device gets no access",
		Text:   "The device with the code " + req.Device.UserCode.String() + " is told so.",
		Advice: "You can close this window.",
	})
}
