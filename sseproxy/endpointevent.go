package sseproxy

import "bytes"

// maxFirstEvent bounds what is held of a stream until its first event is complete. A longer event is no
// endpoint and passes as it is.
const maxFirstEvent = 8 << 10

// endpointEvent rewrites the URI in the data of an `endpoint` event, if that is what a stream begins with
// (MCP 2024-11-05, "HTTP with SSE"). Comments before it pass at once, and so does all that follows.
type endpointEvent struct {
	rewrite func(uri string) (string, bool)
	held    []byte
	begun   bool // something of the stream has passed
	done    bool
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// feed takes the next bytes of the stream and returns those that may pass. They are valid until the next call.
func (e *endpointEvent) feed(p []byte) []byte {
	e.held = append(e.held, p...)
	if bytes.IndexByte(p, '\n') < 0 && bytes.IndexByte(p, '\r') < 0 && len(e.held) <= maxFirstEvent {
		return nil // no line ends in p
	}
	pass := 0
	for !e.done {
		skip := 0
		if !e.begun && pass == 0 && bytes.HasPrefix(e.held, byteOrderMark) {
			skip = len(byteOrderMark)
		}
		group := parseGroup(e.held[pass+skip:])
		switch {
		case group.size > maxFirstEvent, !group.complete && len(e.held)-pass-skip > maxFirstEvent:
			e.done = true
		case group.dispatched:
			e.done = true
			e.replace(pass+skip, group)
		}
		if e.done || !group.complete {
			break
		}
		pass += skip + group.size
	}
	if e.done {
		return e.rest()
	}
	out := append([]byte(nil), e.held[:pass]...)
	e.held = append(e.held[:0], e.held[pass:]...)
	e.begun = e.begun || pass > 0
	return out
}

// rest returns what is held, once the stream is over or needs no rewriting.
func (e *endpointEvent) rest() []byte {
	held := e.held
	e.held = nil
	return held
}

// replace rewrites the URI of the event that begins at start.
func (e *endpointEvent) replace(start int, g group) {
	if !g.endpoint || g.data != 1 {
		return
	}
	uri, ok := e.rewrite(string(e.held[start+g.from : start+g.to]))
	if !ok {
		return
	}
	out := make([]byte, 0, len(e.held)+64)
	out = append(out, e.held[:start+g.from]...)
	out = append(out, uri...)
	e.held = append(out, e.held[start+g.to:]...)
}

// group is what stands at the beginning of a stretch of an event stream: a comment line, or the lines up
// to an empty one.
type group struct {
	complete   bool
	size       int
	dispatched bool // it has data, so clients see an event (HTML, section 9.2.6)
	endpoint   bool
	data       int // lines
	from, to   int // of the last data line's value, without blanks at its end
}

func parseGroup(p []byte) (g group) {
	for first := true; ; first = false {
		end := bytes.IndexAny(p[g.size:], "\r\n")
		if end < 0 {
			return g
		}
		start, next := g.size, g.size+end+1
		line := p[start : start+end]
		empty := len(line) == 0
		if p[next-1] == '\r' {
			switch {
			case next < len(p) && p[next] == '\n':
				next++
			case next == len(p) && !empty:
				return g // whether this is CR or CRLF is in the next bytes
			}
		}
		g.size = next
		if empty || first && line[0] == ':' {
			g.complete, g.dispatched = true, g.data > 0
			return g
		}
		g.field(line, start)
	}
}

func (g *group) field(line []byte, start int) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	from := start + len(line) - len(value)
	if len(value) > 0 && value[0] == ' ' {
		value, from = value[1:], from+1
	}
	switch string(name) {
	case "event":
		g.endpoint = string(value) == "endpoint"
	case "data":
		g.data++
		g.from = from
		g.to = from + len(bytes.TrimRight(value, " \t"))
	}
}
