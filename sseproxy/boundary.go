package sseproxy

import "bytes"

// boundary follows an event stream and knows whether it stands between two events, where a comment of
// ours breaks nothing. The zero value is the start of a stream.
type boundary struct {
	in position
	cr bool // the last byte was CR: an LF that follows belongs to it
}

type position uint8

const (
	betweenEvents position = iota
	inComment              // in a comment line that began between events
	inLine                 // in any other line
	lineStart              // at the start of a line, with an event under way
)

// advance goes over the next bytes of the stream. Lines end in LF, CR or both; an empty line ends an
// event (HTML, section 9.2.6). Long lines cost two vectorised scans, not a step per byte.
func (b *boundary) advance(p []byte) {
	lf := -1 // the first LF at or after i, or len(p)
	for i := 0; i < len(p); {
		if b.cr {
			b.cr = false
			if p[i] == '\n' {
				i++
				continue
			}
		}
		switch b.in {
		case betweenEvents, lineStart:
			switch {
			case p[i] == '\n' || p[i] == '\r':
				b.in, b.cr = betweenEvents, p[i] == '\r'
			case p[i] == ':' && b.in == betweenEvents:
				b.in = inComment
			default:
				b.in = inLine
			}
			i++
		case inComment, inLine:
			if lf < i {
				if lf = bytes.IndexByte(p[i:], '\n'); lf < 0 {
					lf = len(p)
				} else {
					lf += i
				}
			}
			end := lf
			if cr := bytes.IndexByte(p[i:lf], '\r'); cr >= 0 {
				end = i + cr
				b.cr = true
			}
			if end == len(p) {
				return
			}
			if b.in == inComment {
				b.in = betweenEvents
			} else {
				b.in = lineStart
			}
			i = end + 1
		}
	}
}
