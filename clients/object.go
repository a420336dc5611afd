package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"
)

// maxNesting is deeper than any client metadata, key sets included.
const maxNesting = 8

// object is a JSON object whose member names are compared exactly. encoding/json would take
// "Redirect_URIs" for "redirect_uris" and the last of two members of one name, while a gateway that
// inspected the body before may have read the first.
type object map[string]json.RawMessage

// parseObject reads exactly one JSON object without repeated members at any depth (RFC 8259, section
// 4). Its errors describe the defect and quote nothing.
func parseObject(body []byte) (object, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := checkValue(dec, 0); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something after the JSON object")
	}
	var o object
	if err := json.Unmarshal(body, &o); err != nil || o == nil {
		return nil, errors.New("is not a JSON object")
	}
	return o, nil
}

// checkValue consumes one value and checks its depth and its member names.
func checkValue(dec *json.Decoder, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return errors.New("is not valid JSON")
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxNesting {
		return errors.New("is nested more than " + strconv.Itoa(maxNesting) + " levels deep")
	}
	names := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			name, err := dec.Token()
			if err != nil {
				return errors.New("is not valid JSON")
			}
			if s, _ := name.(string); names[s] {
				return errors.New("has a member twice")
			} else {
				names[s] = true
			}
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return errors.New("is not valid JSON")
	}
	return nil
}

// has reports whether the member is there. Some clients write null for what they do not set.
func (o object) has(name string) bool {
	raw, ok := o[name]
	return ok && string(raw) != "null"
}

func (o object) text(name string) (string, error) {
	if !o.has(name) {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(o[name], &s); err != nil {
		return "", invalidMetadata(name + " must be a string")
	}
	return s, nil
}

func (o object) texts(name string) ([]string, error) {
	if !o.has(name) {
		return nil, nil
	}
	// Pointers tell a null among the strings from an empty string.
	var list []*string
	if err := json.Unmarshal(o[name], &list); err != nil {
		return nil, invalidMetadata(name + " must be an array of strings")
	}
	texts := make([]string, 0, len(list))
	for _, s := range list {
		if s == nil {
			return nil, invalidMetadata(name + " must be an array of strings")
		}
		texts = append(texts, *s)
	}
	return texts, nil
}
