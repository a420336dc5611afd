package edge

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// Logs collects what a process writes.
type Logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *Logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *Logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// AccessEntry is a line of the access log.
type AccessEntry struct {
	Logger  string `json:"logger"`
	Message string `json:"msg"`
	UserID  string `json:"user_id"`
	Status  int    `json:"status"`
	Request struct {
		Method string `json:"method"`
		URI    string `json:"uri"`
	} `json:"request"`
}

// Access lists the access log's entries.
func (l *Logs) Access() []AccessEntry {
	var entries []AccessEntry
	for line := range strings.Lines(l.String()) {
		var e AccessEntry
		if json.Unmarshal([]byte(line), &e) == nil && strings.HasPrefix(e.Logger, "http.log.access") {
			entries = append(entries, e)
		}
	}
	return entries
}

// LinesWith lists the lines that contain text.
func (l *Logs) LinesWith(text string) []string {
	return slices.Collect(func(yield func(string) bool) {
		for line := range strings.Lines(l.String()) {
			if strings.Contains(line, text) && !yield(strings.TrimSpace(line)) {
				return
			}
		}
	})
}
