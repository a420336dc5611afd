package pages

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Message is a notice or an error: what happened, and what the person can do now.
type Message struct {
	Title, Text string
	// Detail is set apart, for whoever repairs the cause. No internals: it is seen by strangers.
	Detail string
	// Advice says what to do next.
	Advice string
	// Ways say how to do that, where it depends on what the person uses.
	Ways []string
	// ID is an error id to quote; the log has the rest.
	ID string
	// RetryAfter, if positive, is shown and sent as Retry-After.
	RetryAfter time.Duration
	// Link is a path of this site or an http(s) URL that the caller chose, never one from a request.
	// It is shown only together with LinkText; any other scheme is left out.
	Link, LinkText string
	SiteName       string
}

type messageView struct {
	frame
	Text, Detail, Advice, ID, Wait string
	Link, LinkText                 string
	Ways                           []string
}

// WriteMessage answers with a notice or an error.
func WriteMessage(w http.ResponseWriter, r *http.Request, status int, v Message) {
	title := sentence(v.Title)
	if title == "" {
		title = "Something went wrong"
		if status < http.StatusBadRequest {
			title = "Notice"
		}
	}
	view := messageView{
		frame:  newFrame(title, v.SiteName),
		Text:   sentence(v.Text),
		Detail: sentence(v.Detail),
		Advice: sentence(v.Advice),
		ID:     DisplayName(v.ID),
		Wait:   wait(v.RetryAfter),
	}
	for _, way := range v.Ways {
		view.Ways = append(view.Ways, sentence(way))
	}
	if text := sentence(v.LinkText); text != "" && webLink(v.Link) {
		view.Link, view.LinkText = v.Link, text
	}
	setRetryAfter(w.Header(), v.RetryAfter)
	write(w, r, status, messagePage, view)
}

// webLink reports whether link is a path of this site or an http(s) URL. Browsers read a backslash as
// a slash, so /\host is another site just as //host is.
func webLink(link string) bool {
	u, err := url.Parse(link)
	if err != nil || strings.ContainsRune(link, '\\') {
		return false
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return u.Host != ""
	}
	return u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/") && !strings.HasPrefix(link, "//")
}

// Leaving hands the person over to an application on the device and says that the window can be
// closed. Browsers block or forget a redirect to a private-use scheme; a link that was clicked works.
type Leaving struct {
	// Target is a redirect URI with its response parameters. The caller vouches for it: it must be one
	// that the client registered, compared before this call. html/template would refuse its scheme, so
	// this package marks it as safe, except for schemes that browsers run or read themselves. It holds
	// an authorization code and is never shown as text.
	Target     string
	ClientName string
	SiteName   string
}

type leavingView struct {
	frame
	Target       template.URL
	Host, Scheme string // one of them: what may be shown of Target
	ClientName   string
}

// WriteLeaving answers with the hand-over page, status 200, which opens the target at once. A target that no application could mean,
// such as javascript:, gets an error page instead, status 400.
func WriteLeaving(w http.ResponseWriter, r *http.Request, v Leaving) {
	view := leavingView{
		frame:      newFrame("Back to the application", v.SiteName),
		ClientName: DisplayName(v.ClientName),
	}
	if !view.setTarget(v.Target) {
		WriteMessage(w, r, http.StatusBadRequest, Message{
			Title:    "This application cannot be opened",
			Text:     "It asked to be reached at an address that is not safe to open.",
			Advice:   "Nothing was sent. Start again from the application, or tell the people who make it.",
			SiteName: v.SiteName,
		})
		return
	}
	// Most browsers open the application by themselves; the link is for the others.
	w.Header().Set("Refresh", "0;url="+v.Target)
	write(w, r, http.StatusOK, leavingPage, view)
}

// setTarget reports whether target is fit for a link. The schemes refused are those that run in the
// browser, read what it can read, or start something that is not the client.
func (v *leavingView) setTarget(target string) bool {
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "", "javascript", "vbscript", "data", "blob", "about", "file", "filesystem", "view-source",
		"intent", "content", "chrome", "resource", "jar", "mailto", "tel", "sms", "ws", "wss":
		return false
	case "http", "https":
		v.Host = host(u.Host)
		if v.Host == "" {
			return false
		}
	default:
		v.Scheme = address(u.Scheme) + ":"
	}
	v.Target = template.URL(target)
	return true
}
