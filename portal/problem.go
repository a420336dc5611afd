package portal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// problem is a notice or an error that takes the place of a page.
type problem struct {
	status              int
	title, text, advice string
	link                string // to the page; its text
	retryAfter          time.Duration
	id                  string // to quote to the operator, who finds it in the log
}

var (
	unavailable = problem{
		status: http.StatusServiceUnavailable, title: "Not available at the moment",
		text:       "The server cannot reach its session store.",
		advice:     "Try again in a moment. If you were ending something, it may not have ended yet.",
		retryAfter: 5 * time.Second,
	}
	signedOut = problem{
		status: http.StatusForbidden, title: "You are signed out",
		text: "Nothing was changed, because nobody is signed in here with this browser any more.", link: "Sign in",
	}
	goodbye = problem{
		status: http.StatusOK, title: "You are signed out everywhere",
		text: "Every browser in which you were signed in has to sign in again.", link: "Sign in",
	}
	stale = problem{
		status: http.StatusBadRequest, title: "This page has expired",
		text: "It was made for another sign-in or another browser, or has been used. Nothing was changed.", link: "Open it again",
	}
	foreign = problem{
		status: http.StatusForbidden, title: "Request refused",
		text: "This form was sent from another website. Nothing was changed.",
	}
	early = problem{
		status: http.StatusTooEarly, title: "Please send the form again", text: "It came too early in the connection to be trusted.",
	}
	unreadable = problem{
		status: http.StatusBadRequest, title: "This did not work", text: "The form cannot be read. Nothing was changed.", link: "Open the page again",
	}
	wrongMethod = problem{
		status: http.StatusMethodNotAllowed, title: "This did not work", text: "This address is for a browser.",
	}
)

func (p *Portal) problem(w http.ResponseWriter, r *http.Request, trouble problem) {
	m := pages.Message{
		Title: trouble.title, Text: trouble.text, Advice: trouble.advice, ID: trouble.id,
		RetryAfter: trouble.retryAfter, SiteName: p.SiteName,
	}
	if trouble.link != "" {
		m.Link, m.LinkText = p.Path, trouble.link
	}
	pages.WriteMessage(w, r, trouble.status, m)
}

// failed answers for an error that the person can do nothing about.
func (p *Portal) failed(w http.ResponseWriter, r *http.Request, doing string, err error) {
	if errors.Is(err, sessions.ErrUnavailable) {
		p.Logger.Warn(doing, zap.Error(err))
		p.problem(w, r, unavailable)
		return
	}
	var b [4]byte
	_, _ = rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	p.Logger.Error(doing, zap.String("error_id", id), zap.Error(err))
	p.problem(w, r, problem{
		status: http.StatusInternalServerError, title: "This did not work",
		text: "Something went wrong on the server.", advice: "Try again. If it happens again, tell the operator the error id below.", id: id,
	})
}
