// Package notify tells watchers inside one process of records as they are written. It knows nothing
// of where they are kept.
package notify

import (
	"strings"
	"sync"
)

// Hub connects writers with watchers. The zero value is ready for use.
type Hub struct {
	mu       sync.Mutex
	watchers map[*Watcher]struct{}
}

// Watcher collects what was written below one prefix since it was last asked. It holds one value
// per key, so that a slow reader costs no more memory than the records themselves.
type Watcher struct {
	hub     *Hub
	prefix  string
	wake    chan struct{}
	pending map[string][]byte
}

// Watch starts to collect.
func (h *Hub) Watch(prefix string) *Watcher {
	w := &Watcher{hub: h, prefix: prefix, wake: make(chan struct{}, 1), pending: make(map[string][]byte)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = make(map[*Watcher]struct{})
	}
	h.watchers[w] = struct{}{}
	return w
}

// Publish hands a record to every watcher of its key. The value is copied.
func (h *Hub) Publish(key string, value []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		if !strings.HasPrefix(key, w.prefix) {
			continue
		}
		w.pending[key] = append([]byte{}, value...)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Wake yields a value when there is something to drain.
func (w *Watcher) Wake() <-chan struct{} { return w.wake }

// Drain calls fn with what has come in since the last time.
func (w *Watcher) Drain(fn func(key string, value []byte)) {
	w.hub.mu.Lock()
	pending := w.pending
	w.pending = make(map[string][]byte)
	w.hub.mu.Unlock()
	for key, value := range pending {
		fn(key, value)
	}
}

// Close stops collecting.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.watchers, w)
}
