package clients

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func sampleClient() *Client {
	return &Client{
		Name: "A", URI: "https://a.example", Source: Dynamic, RedirectURIs: []string{"https://a.example/cb", "http://localhost/cb"},
		AuthMethod: AuthSecretPost, GrantTypes: grantTypes(true, false), IssuedAt: now,
	}
}

func TestRegistrationRoundTrip(t *testing.T) {
	for _, change := range []func(*Client){
		func(*Client) {},
		func(c *Client) { c.AuthMethod = AuthNone },
		func(c *Client) { c.AuthMethod = AuthSecretBasic },
		func(c *Client) { c.GrantTypes = grantTypes(false, false) },
		func(c *Client) { c.Name, c.URI = "", "" },
		func(c *Client) { c.Name = strings.Repeat("ü", 128) },
		func(c *Client) { c.IssuedAt = time.Unix(0, 0).UTC() },
	} {
		c := sampleClient()
		change(c)
		b, err := appendRegistration(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeRegistration(b); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, c)
		}
	}
}

func TestRegistrationThatDoesNotDecode(t *testing.T) {
	good, err := appendRegistration(nil, sampleClient())
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(good) {
		if c, err := decodeRegistration(good[:n]); err == nil {
			t.Errorf("the first %d bytes decode to %+v", n, c)
		}
	}
	changed := func(at int, to byte) []byte {
		b := append([]byte(nil), good...)
		b[at] = to
		return b
	}
	for name, b := range map[string][]byte{
		"something after it":    append(append([]byte(nil), good...), 0),
		"another version":       changed(0, idVersion+1),
		"an unknown flag":       changed(1, 0x80),
		"an unknown method":     changed(1, 0x03),
		"a text without an end": append(good[:2:2], 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
		"endless numbers":       append(good[:2:2], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"too many URIs":         {idVersion, 0, 0, 0, 0, 0xff, 0x7f},
	} {
		if c, err := decodeRegistration(b); err == nil {
			t.Errorf("%s decodes to %+v", name, c)
		}
	}
}

func TestWhatCannotBeEncoded(t *testing.T) {
	c := sampleClient()
	c.AuthMethod = AuthPrivateKeyJWT
	if _, err := appendRegistration(nil, c); err == nil {
		t.Error("a method without a code was encoded")
	}
}

func FuzzDecodeRegistration(f *testing.F) {
	good, err := appendRegistration(nil, sampleClient())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{idVersion, flagRefresh, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeRegistration(b)
		if err != nil {
			return
		}
		encoded, err := appendRegistration(nil, c)
		if err != nil {
			t.Fatalf("decoded %+v, but %v", c, err)
		}
		if again, err := decodeRegistration(encoded); err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}
