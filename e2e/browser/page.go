package browser

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Page is what the browser shows.
type Page struct {
	URL    *url.URL
	Status int
	Header http.Header
	Body   string
	Text   string // what a person reads, white space collapsed
	Forms  []*Form

	// Landed is set when the browser was sent to the application's redirect URI; URL is that
	// address and nothing was fetched from it.
	Landed bool
}

// Form is a form of a page.
type Form struct {
	Page    *Page
	Method  string
	Action  *url.URL
	Fields  url.Values // with the values the page gave them
	Buttons []Button
}

// Button submits a form.
type Button struct{ Name, Value, Label string }

// Form finds the form with a field called field.
func (p *Page) Form(field string) (*Form, bool) {
	for _, f := range p.Forms {
		if _, ok := f.Fields[field]; ok {
			return f, true
		}
	}
	return nil, false
}

// FormWith finds the form with a button of that value.
func (p *Page) FormWith(button string) (*Form, bool) {
	for _, f := range p.Forms {
		for _, b := range f.Buttons {
			if b.Value == button {
				return f, true
			}
		}
	}
	return nil, false
}

func (f *Form) fill(button string, values map[string]string) (url.Values, error) {
	fields := make(url.Values)
	for name, v := range f.Fields {
		fields[name] = v
	}
	for name, v := range values {
		if _, ok := f.Fields[name]; !ok {
			return nil, fmt.Errorf("the form has no field %q", name)
		}
		fields.Set(name, v)
	}
	if button == "" {
		return fields, nil
	}
	for _, b := range f.Buttons {
		if b.Value == button {
			fields.Set(b.Name, b.Value)
			return fields, nil
		}
	}
	return nil, fmt.Errorf("the form has no button %q", button)
}

func readPage(resp *http.Response) (*Page, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return nil, fmt.Errorf("reading a page: %w", err)
	}
	p := &Page{URL: resp.Request.URL, Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if mediaType != "text/html" {
		p.Text = p.Body
		return p, nil
	}
	root, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		return nil, fmt.Errorf("parsing a page: %w", err)
	}
	var words strings.Builder
	p.walk(root, nil, &words)
	p.Text = strings.Join(strings.Fields(words.String()), " ")
	return p, nil
}

func (p *Page) walk(n *html.Node, form *Form, words *strings.Builder) {
	switch {
	case n.Type == html.TextNode:
		words.WriteString(n.Data + " ")
	case n.DataAtom == atom.Style || n.DataAtom == atom.Script:
		return
	case n.DataAtom == atom.Form:
		form = p.newForm(n)
	case form != nil:
		form.addControl(n)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		p.walk(c, form, words)
	}
}

func (p *Page) newForm(n *html.Node) *Form {
	f := &Form{Page: p, Method: strings.ToUpper(attr(n, "method")), Action: p.URL, Fields: make(url.Values)}
	if f.Method == "" {
		f.Method = http.MethodGet
	}
	if action := attr(n, "action"); action != "" {
		if u, err := p.URL.Parse(action); err == nil {
			f.Action = u
		}
	}
	p.Forms = append(p.Forms, f)
	return f
}

func (f *Form) addControl(n *html.Node) {
	name, kind := attr(n, "name"), attr(n, "type")
	switch {
	case n.DataAtom == atom.Button && (kind == "" || kind == "submit"):
		f.Buttons = append(f.Buttons, Button{Name: name, Value: attr(n, "value"), Label: label(n)})
	case n.DataAtom == atom.Input && kind == "submit":
		f.Buttons = append(f.Buttons, Button{Name: name, Value: attr(n, "value"), Label: attr(n, "value")})
	case n.DataAtom == atom.Input && (kind == "checkbox" || kind == "radio"):
		if hasAttr(n, "checked") {
			f.Fields.Add(name, attr(n, "value"))
		}
	case n.DataAtom == atom.Input && name != "":
		f.Fields.Add(name, attr(n, "value"))
	}
}

func label(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func hasAttr(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}
