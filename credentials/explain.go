package credentials

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// rpcCode is the code of our errors, in the range that MCP 2026-07-28 leaves to implementations.
const rpcCode = -32010

var (
	errNoPerson = errors.New("the caller is no person")
	errTryAgain = errors.New("the credential was refreshed, and the request cannot be sent again")
)

// explain answers in the upstream's place, so that the person who reads it knows what to do. A JSON-RPC
// request gets a JSON-RPC error with status 200: that is the answer whose text every client shows.
// Whatever else gets 403 with the same error; 401 would make clients sign in here again.
func (g *Guard) explain(w http.ResponseWriter, r *http.Request, b *body, why error) error {
	if down(why) {
		return fmt.Errorf("getting a credential for %s: %w", g.Upstream.Resource, why)
	}
	text := g.words(why)
	if text == "" {
		return fmt.Errorf("getting a credential for %s: %w", g.Upstream.Resource, why)
	}
	if g.Refused != nil {
		g.Refused()
	}
	id, status := json.RawMessage("null"), http.StatusForbidden
	if r.Method == http.MethodPost {
		if found := requestID(b.beginning()); found != nil {
			id = found
			if acceptsJSON(r.Header) {
				status = http.StatusOK
			}
		}
	}
	document, err := json.Marshal(rpcError{
		Version: "2.0", ID: id,
		Error: rpcErrorObject{Code: rpcCode, Message: text, Data: rpcErrorData{URL: g.Page, Resource: g.Upstream.Resource}},
	})
	if err != nil {
		return fmt.Errorf("encoding an error: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(document)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(document)
	}
	return nil
}

// words tells a person what to do, "" if there is nothing.
func (g *Guard) words(why error) string {
	name, oauth := strconv.QuoteToGraphic(g.Upstream.title()), g.Upstream.OAuth != nil
	switch {
	case errors.Is(why, errNoPerson):
		return fmt.Sprintf("%s works with a credential of each person, and a client that acts in its own name has none.", name)
	case errors.Is(why, errTryAgain):
		return fmt.Sprintf("The access to %s has just been renewed. Please try again.", name)
	case errors.Is(why, ErrMissing) && oauth:
		return fmt.Sprintf("%s needs your account there. Connect it at %s and try again.", name, g.Page)
	case errors.Is(why, ErrMissing):
		return fmt.Sprintf("%s needs a token of yours. Store it at %s and try again.", name, g.Page)
	case errors.Is(why, ErrEnded), errors.Is(why, ErrRejected) && oauth:
		return fmt.Sprintf("Your connection to %s has ended. Connect it again at %s and try again.", name, g.Page)
	case errors.Is(why, ErrRejected):
		return fmt.Sprintf("%s does not accept the token that you stored. Replace it at %s and try again.", name, g.Page)
	}
	return ""
}

type rpcError struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Error   rpcErrorObject  `json:"error"`
}

type rpcErrorObject struct {
	Code    int          `json:"code"`
	Message string       `json:"message"`
	Data    rpcErrorData `json:"data"`
}

type rpcErrorData struct {
	URL      string `json:"url"`
	Resource string `json:"resource"`
}

// maxID bounds the id of a message that is repeated in an answer.
const maxID = 256

// requestID returns the id of the JSON-RPC request that a body begins with, nil for anything else: a
// notification, a response, a batch, or a text in which it does not come soon enough.
func requestID(beginning []byte) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(beginning))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil
	}
	var id json.RawMessage
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return id
		}
		switch name {
		case "id":
			var raw json.RawMessage
			if id != nil || d.Decode(&raw) != nil || !validID(raw) {
				return nil
			}
			id = raw
			continue
		case "result", "error":
			return nil // a response; it is not answered
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return id // cut off within a long value
		}
	}
	return id
}

// validID accepts a string or a number (JSON-RPC 2.0, section 4).
func validID(raw json.RawMessage) bool {
	return len(raw) > 0 && len(raw) <= maxID && (raw[0] == '"' || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}

// acceptsJSON reports whether the client waits for the answer in this response. Those of Streamable HTTP
// have to say so; the older transport reads answers from its stream, and from a POST only whether it
// failed.
func acceptsJSON(h http.Header) bool {
	for _, line := range h["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			if media, _, err := mime.ParseMediaType(part); err == nil && media == "application/json" {
				return true
			}
		}
	}
	return false
}
