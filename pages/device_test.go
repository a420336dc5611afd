package pages

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestDevicePage(t *testing.T) {
	for _, tc := range []struct {
		name   string
		view   Device
		status int
		want   []string
		not    []string
	}{
		{"empty", Device{Action: "/oauth2/device"}, http.StatusOK,
			[]string{`action="/oauth2/device"`, `name="user_code"`, "autofocus", "Never use a code that somebody sent you"}, []string{"role=\"alert\""}},
		{"filled in from a link", Device{Code: "BCDF-GHJK"}, http.StatusOK, []string{`value="BCDF-GHJK"`}, []string{"autofocus", "<script"}},
		{"after a wrong code", Device{Code: "BCDF-GHJK", Error: "No device."}, http.StatusNotFound,
			[]string{"<title>Error: Connect a device", `role="alert"`, "No device.", `aria-describedby="error caution"`}, nil},
		{"after too many", Device{Error: "Too many wrong codes.", RetryAfter: 30 * time.Second}, http.StatusTooManyRequests,
			[]string{"try again in 30 seconds"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := get(func(w http.ResponseWriter, r *http.Request) { WriteDevice(w, r, tc.status, tc.view) })
			if w.Code != tc.status {
				t.Errorf("status %d, want %d", w.Code, tc.status)
			}
			for _, want := range tc.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(w.Body.String(), not) {
					t.Errorf("the page has %q", not)
				}
			}
		})
	}
}

func TestConsentToADeviceNamesNoAddressAndWarns(t *testing.T) {
	w := get(func(w http.ResponseWriter, r *http.Request) {
		WriteConsent(w, r, Consent{UserCode: "BCDF-GHJK", DeviceAddr: "203.0.113.7", RedirectHost: "evil.example", RedirectKind: RedirectLoopback, ClientHost: "claude.ai", Unproven: true})
	})
	body := w.Body.String()
	for _, want := range []string{"another device", "BCDF-GHJK", "203.0.113.7", "somebody sent you the code", `id="caution"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "evil.example") || strings.Contains(body, "Verified host") || strings.Count(body, `id="caution"`) != 1 {
		t.Error("the page names an address, or warns of something else")
	}
}
