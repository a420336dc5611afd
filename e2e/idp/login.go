package idp

import (
	"context"
	"html/template"
	"net/http"
	"time"
)

// loginPage asks for a user name and a password and hands the finished request back to the protocol.
type loginPage struct {
	storage  *storage
	callback func(ctx context.Context, requestID string) string
}

var loginTemplate = template.Must(template.New("login").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Example identity provider</title></head>
<body><h1>Sign in at the example identity provider</h1>
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
<form method="post" action="/login">
<input type="hidden" name="request" value="{{.Request}}">
<label>User name <input name="username" autocomplete="username" value="{{.Username}}"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button type="submit" name="signin" value="1">Sign in</button>
</form></body></html>
`))

type loginView struct{ Request, Username, Problem string }

func (l *loginPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost && l.storage.resume(r.URL.Query().Get("request")) {
		http.Redirect(w, r, l.callback(r.Context(), r.URL.Query().Get("request")), http.StatusSeeOther)
		return
	}
	if r.Method != http.MethodPost {
		l.show(w, http.StatusOK, loginView{Request: r.URL.Query().Get("request"), Username: r.URL.Query().Get("hint")})
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, "bad form", http.StatusBadRequest)
		return
	}
	id, username := r.PostForm.Get("request"), r.PostForm.Get("username")
	if !l.storage.finishLogin(id, username, r.PostForm.Get("password")) {
		l.show(w, http.StatusUnauthorized, loginView{Request: id, Username: username, Problem: "Wrong user name or password."})
		return
	}
	http.Redirect(w, r, l.callback(r.Context(), id), http.StatusSeeOther)
}

// SignedIn makes u somebody who is signed in already: requests are answered for them without a page, as a
// provider does whose session has not ended and who has agreed to the application before.
func (p *Provider) SignedIn(u User) {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	p.storage.session = u.Subject
}

// resume ties the user who is signed in already to a pending request, if there is one.
func (s *storage) resume(requestID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := s.requests[requestID]
	if req == nil || s.session == "" {
		return false
	}
	req.subject, req.done, req.authTime = s.session, true, time.Now()
	return true
}

func (l *loginPage) show(w http.ResponseWriter, status int, v loginView) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = loginTemplate.Execute(w, v)
}
