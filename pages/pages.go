// Package pages renders what people see in a browser: consent, sign-in, the choice of an identity
// provider, a person's own page, notices and errors. It takes plain structs and writes complete responses, with their
// security headers. It knows nothing of OAuth, sessions or Caddy, decides nothing, and believes
// nothing it shows: every string may come from an attacker.
//
// The pages carry no script and load nothing: one embedded stylesheet, allowed by its hash.
package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed style.css
var styleSource string

//go:embed templates/*.html
var templateFiles embed.FS

// stylesheet is the text inside the style element of every page. Browsers turn CRLF into LF before
// they hash it, so a checkout with CRLF must not reach the page.
var stylesheet = strings.ReplaceAll(styleSource, "\r\n", "\n")

// contentSecurityPolicy allows the embedded stylesheet and nothing else.
//
// There is no form-action: browsers apply it to every redirect that follows the POST, and that chain
// ends at whatever the client registered (another origin, a loopback port, cursor://...), so any
// value strict enough to help breaks sign-in after the code was issued. What keeps the forms honest
// is that their targets are written here and that nothing can be injected into the page.
var contentSecurityPolicy = "default-src 'none'; style-src '" + sourceHash(stylesheet) + "'; " +
	"img-src 'none'; base-uri 'none'; frame-ancestors 'none'"

var (
	consentPage = page("consent")
	signInPage  = page("signin")
	choosePage  = page("choose")
	signOutPage = page("signout")
	messagePage = page("message")
	leavingPage = page("leaving")
	portalPage  = page("portal", "own")
	tokensPage  = page("tokens", "own")
	mintedPage  = page("minted")
	devicePage  = page("device")

	credentialsPage = page("credentials", "own")
)

// frame is what the layout needs of every page.
type frame struct {
	Title, SiteName string
	// Wide is set for pages with much to list.
	Wide bool
}

func newFrame(title, siteName string) frame {
	return frame{Title: title, SiteName: DisplayName(siteName)}
}

// page parses the layout together with the templates that fill it.
func page(names ...string) *template.Template {
	files := []string{"templates/layout.html"}
	for _, name := range names {
		files = append(files, "templates/"+name+".html")
	}
	return template.Must(template.New("layout").
		Funcs(template.FuncMap{"stylesheet": func() template.CSS { return template.CSS(stylesheet) }}).
		ParseFS(templateFiles, files...))
}

// sourceHash is the hash source of an inline element (CSP Level 3, section 2.3.1).
func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// write renders view completely before the first byte is sent, so that a page is never half there.
func write(w http.ResponseWriter, r *http.Request, status int, t *template.Template, view any) {
	var body bytes.Buffer
	contentType := "text/html; charset=utf-8"
	if err := t.ExecuteTemplate(&body, "layout", view); err != nil {
		status, contentType = http.StatusInternalServerError, "text/plain; charset=utf-8"
		body.Reset()
		body.WriteString("This page could not be shown. Please try again.\n")
	}
	h := w.Header()
	setSecurityHeaders(h)
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes())
	}
}

// setSecurityHeaders sets what every page needs, whatever its status.
//
// Cross-Origin-Opener-Policy is left out on purpose: web clients open this page in a popup and wait
// for a message from their own callback at the end of the redirects. The policy would cut that popup
// off its opener for good.
func setSecurityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	// RFC 9700, section 4.16: for browsers that do not know frame-ancestors.
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	// RFC 9700, section 4.2: the URL of a page may hold state that is nobody else's. It also makes
	// browsers send "Origin: null" with the forms of this page (Fetch Standard, "append a request
	// Origin header"); whoever checks where a POST comes from has Sec-Fetch-Site: same-origin.
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}

// setRetryAfter tells programs what the page tells people (RFC 9110, section 10.2.3), rounded up so
// that nobody comes back too early.
func setRetryAfter(h http.Header, d time.Duration) {
	if d > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((d-1)/time.Second)+1, 10))
	}
}
