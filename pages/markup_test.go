package pages

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// filled returns a T with text in every string, and with every list holding one element.
func filled[T any](text string) T {
	var v T
	var fill func(reflect.Value)
	fill = func(f reflect.Value) {
		switch f.Kind() {
		case reflect.String:
			f.SetString(text)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			fill(f.Index(0))
		case reflect.Struct:
			for i := range f.NumField() {
				fill(f.Field(i))
			}
		}
	}
	fill(reflect.ValueOf(&v).Elem())
	return v
}

func get(write func(http.ResponseWriter, *http.Request)) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	write(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w
}

func parse(t testing.TB, w *httptest.ResponseRecorder) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatalf("parsing the page: %v", err)
	}
	return doc
}

// elements returns the elements of doc that match, in document order.
func elements(doc *html.Node, match func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && match(n) {
			found = append(found, n)
		}
	}
	return found
}

func named(tags ...string) func(*html.Node) bool {
	return func(n *html.Node) bool { return slices.Contains(tags, n.Data) }
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text returns what n says, with single spaces.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "style" {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// skeleton is the document without its texts: elements, comments, and the names of attributes.
func skeleton(doc *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		switch n.Type {
		case html.ElementNode:
			b.WriteString("<" + n.Data)
			for _, a := range n.Attr {
				b.WriteString(" " + a.Key)
			}
			b.WriteString(">")
		case html.CommentNode:
			b.WriteString("<!>")
		}
		for c := range n.ChildNodes() {
			walk(c)
		}
		if n.Type == html.ElementNode {
			b.WriteString("</>")
		}
	}
	walk(doc)
	return b.String()
}

// checkInert fails on anything that runs, loads or leads elsewhere by the page's own doing.
func checkInert(t testing.TB, doc *html.Node) {
	t.Helper()
	for _, n := range elements(doc, func(*html.Node) bool { return true }) {
		switch n.Data {
		case "script", "img", "iframe", "object", "embed", "link", "base", "noscript", "template":
			t.Errorf("<%s> on the page", n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "href" && n.Data == "a", a.Key == "action" && n.Data == "form":
				if u, err := url.Parse(a.Val); err != nil || (u.Scheme != "" && u.Scheme != "cursor") {
					t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
				}
			case a.Key == "src", a.Key == "href", a.Key == "action", a.Key == "formaction", a.Key == "srcset",
				a.Key == "style", a.Key == "http-equiv", a.Key == "target", strings.HasPrefix(a.Key, "on"):
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
}
