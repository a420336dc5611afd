package authserver

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
)

// problem is an error that a person sees, because there is no client yet that could be told.
type problem struct {
	status     int
	title      string
	text       string
	advice     string
	ways       string // how to follow the advice, one application a line
	retryAfter time.Duration
	id         string // to quote to the operator, who finds it in the log
}

const startAgain = "Go back to the application and connect again."

var (
	unreadableRequest = problem{
		status: http.StatusBadRequest,
		text:   "The application sent a request that cannot be read: a parameter is malformed or given twice.",
		advice: "Start again from the application. If it happens again, the application has an error.",
	}
	unknownClient = problem{
		status: http.StatusBadRequest,
		title:  "This application is not known here",
		text:   "The application uses a registration that this server did not issue or no longer accepts.",
		advice: "Remove this server from the application and add it again, so that it registers anew.",
		ways: "Claude Code: /mcp, choose the server, Clear authentication\n" +
			"Claude, ChatGPT: delete the connector and create it again\n" +
			"VS Code: the command Authentication: Remove Dynamic Authentication Providers\n" +
			"Cursor: Settings, MCP, Logout\n" +
			"Codex: codex mcp logout with the server's name\n" +
			"mcp-remote: delete the folder .mcp-auth in your home directory",
	}
	wrongRedirect = problem{
		status: http.StatusBadRequest,
		title:  "You were not sent on",
		text:   "The application asked to be answered at an address that it has not registered (redirect_uri), which could hand your access to somebody else.",
		advice: "Remove this server from the application and add it again, so that it registers anew.",
	}
	storeDown = problem{
		status:     http.StatusServiceUnavailable,
		title:      "Not available at the moment",
		text:       "The server cannot reach its session store.",
		advice:     "Try again in a moment. Applications that are connected already go on working.",
		retryAfter: 5 * time.Second,
	}
	clientUnavailable = problem{
		status:     http.StatusServiceUnavailable,
		title:      "The application cannot be checked at the moment",
		text:       "What the application publishes about itself cannot be read now, or this server's own store cannot be reached.",
		advice:     "Try again in a moment.",
		retryAfter: 10 * time.Second,
	}
	providerDown = problem{
		status:     http.StatusServiceUnavailable,
		title:      "Sign-in is not available at the moment",
		text:       "The identity provider that signs you in cannot be reached.",
		advice:     "Try again in a moment. Applications that are connected already go on working.",
		retryAfter: 10 * time.Second,
	}
	notSignedIn = problem{
		status: http.StatusForbidden,
		title:  "You are not signed in",
		text:   "The identity provider did not sign you in.",
		advice: "Open the page again to try once more.",
	}
	staleTicket = problem{
		status: http.StatusBadRequest,
		title:  "This page has expired",
		text:   "The sign-in took too long, was finished already, or was started in another browser.",
		advice: startAgain,
	}
	deviceGone = problem{
		status: http.StatusBadRequest,
		title:  "This device no longer waits",
		text:   "The code has expired, or somebody has decided about it already.",
		advice: "Ask the device for a new code.",
	}
	tooManySignIns = problem{
		status: http.StatusTooManyRequests,
		title:  "Too many sign-ins",
		text:   "Too many people began to sign in from your network address and have not finished.",
		advice: "Wait a moment, then send the page again.",
	}
	foreignPost = problem{
		status: http.StatusForbidden,
		title:  "Request refused",
		text:   "This form was sent from another website.",
		advice: startAgain,
	}
)

// problem answers the browser with a page about p.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, p problem) {
	title := p.title
	if title == "" {
		title = "This did not work"
	}
	m := pages.Message{Title: title, Text: p.text, Advice: p.advice, ID: p.id, RetryAfter: p.retryAfter, SiteName: s.SiteName}
	if p.ways != "" {
		m.Ways = strings.Split(p.ways, "\n")
	}
	pages.WriteMessage(w, r, p.status, m)
}

// internalProblem logs an error that nobody outside can do anything about; the page shows only an id.
func (s *Server) internalProblem(doing string, err error) *problem {
	id := errorID()
	s.Logger.Error(doing, zap.String("error_id", id), zap.Error(err))
	return &problem{
		status: http.StatusInternalServerError,
		text:   "Something went wrong on the server.",
		advice: "Try again. If it happens again, tell the operator the error id below.",
		id:     id,
	}
}

// internal is internalProblem for machine endpoints.
func (s *Server) internal(doing string, err error) *oauthError {
	id := errorID()
	s.Logger.Error(doing, zap.String("error_id", id), zap.Error(err))
	return &oauthError{
		code:        "server_error",
		description: "internal error " + id,
		status:      http.StatusInternalServerError,
	}
}

func errorID() string {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
