package pages

import (
	"net/http"
	"time"
)

// Device asks for the code that another device shows. The form posts user_code.
type Device struct {
	Action string
	// Code fills the field in: from a link, or after a failed attempt.
	Code     string
	SiteName string
	// Error is announced and shown above the field.
	Error string
	// RetryAfter, if positive, is shown and sent as Retry-After.
	RetryAfter time.Duration
}

type deviceView struct {
	frame
	Action, Code, Error, Wait string
}

// WriteDevice answers with the page that asks for a device's code.
func WriteDevice(w http.ResponseWriter, r *http.Request, status int, v Device) {
	view := deviceView{
		frame:  newFrame("Connect a device", v.SiteName),
		Action: v.Action,
		Code:   DisplayName(v.Code),
		Error:  sentence(v.Error),
		Wait:   wait(v.RetryAfter),
	}
	if view.Error != "" {
		view.Title = "Error: " + view.Title
	}
	setRetryAfter(w.Header(), v.RetryAfter)
	write(w, r, status, devicePage, view)
}
