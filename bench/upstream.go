package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// upstreamCommand makes this program the MCP server of a run, in a process of its own.
const upstreamCommand = "upstream"

// upstream is a running stand-in for an MCP server, listening on several loopback addresses so that
// many streams do not run out of ports.
type upstream struct {
	cmd       *exec.Cmd
	addresses []string
}

func startUpstream(ctx context.Context, addresses int) (*upstream, error) {
	cmd := exec.CommandContext(ctx, os.Args[0], upstreamCommand, strconv.Itoa(addresses))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	u := &upstream{cmd: cmd}
	lines := bufio.NewScanner(out)
	for range addresses {
		if !lines.Scan() {
			return nil, fmt.Errorf("the upstream does not start")
		}
		u.addresses = append(u.addresses, lines.Text())
	}
	return u, nil
}

func (u *upstream) stop() {
	_ = u.cmd.Process.Kill()
	_ = u.cmd.Wait()
}

// open is how many streams are open at the upstream.
func (u *upstream) open() (int, error) {
	response, err := http.Get("http://" + u.addresses[0] + "/open")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(body))
}

// broadcast has the upstream write an event of size bytes to every stream.
func (u *upstream) broadcast(size int) error {
	response, err := http.Post(fmt.Sprintf("http://%s/broadcast?size=%d", u.addresses[0], size), "text/plain", nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// runUpstream answers POSTs like a tool call and GETs with streams that wait for a broadcast.
func runUpstream() {
	addresses, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	s := &streamServer{streams: make(map[chan []byte]struct{})}
	for i := range addresses {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:0", i+1))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(l.Addr())
		go func() { log.Fatal(http.Serve(l, s)) }()
	}
	select {}
}

type streamServer struct {
	open    atomic.Int64
	mu      sync.Mutex
	streams map[chan []byte]struct{}
}

const answer = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"ok"}]}}`

func (s *streamServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/open":
		fmt.Fprint(w, s.open.Load())
	case r.URL.Path == "/broadcast":
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		s.broadcast(size)
	case r.Method == http.MethodGet:
		s.stream(w, r)
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}
}

func (s *streamServer) stream(w http.ResponseWriter, r *http.Request) {
	events := make(chan []byte, 64)
	s.mu.Lock()
	s.streams[events] = struct{}{}
	s.mu.Unlock()
	s.open.Add(1)
	defer func() {
		s.open.Add(-1)
		s.mu.Lock()
		delete(s.streams, events)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(w)
	_ = flusher.Flush()
	for {
		select {
		case event := <-events:
			if _, err := w.Write(event); err != nil {
				return
			}
			_ = flusher.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// broadcast sends every stream an event that says when it was sent.
func (s *streamServer) broadcast(size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for events := range s.streams {
		event := fmt.Sprintf("data: %d ", time.Now().UnixNano())
		if missing := size - len(event) - 2; missing > 0 {
			event += strings.Repeat("x", missing)
		}
		select {
		case events <- []byte(event + "\n\n"):
		default: // a stream that is this far behind shows as lost
		}
	}
}
