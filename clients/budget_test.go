package clients

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestFetchesPerSourceAreLimited(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	lookup := func(source, path string) error {
		_, err := g.Lookup(WithSource(context.Background(), source), s.URL+path)
		return err
	}
	for i := range sourceBurst {
		if err := lookup("192.0.2.1:1234", "/"+strings.Repeat("a", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := lookup("192.0.2.1:5678", "/b"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("one more fetch from there: %v", err)
	}
	if err := lookup("192.0.2.1", "/a"); err != nil {
		t.Errorf("a cached document from there: %v", err)
	}
	if err := lookup("192.0.2.2", "/b"); err != nil {
		t.Errorf("the refused URL from elsewhere: %v", err)
	}
	s.advance(10 * time.Second)
	if err := lookup("192.0.2.1", "/c"); err != nil {
		t.Errorf("after a while: %v", err)
	}
}

func TestFetchesInAllAreLimited(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	for range totalBurst {
		g.documents.clients.budget.spendTotal()
	}
	s.expect(t, g, "/a", ErrUnavailable, 0)
	// That is not the document's fault, so nothing is remembered about it.
	s.advance(time.Second)
	s.expect(t, g, "/a", nil, 1)
}
