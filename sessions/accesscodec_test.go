package sessions

import (
	"bytes"
	"testing"
)

func encodedAccess(t testing.TB, a Access) []byte {
	t.Helper()
	plain, err := a.appendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestAccessCodecIsStrict(t *testing.T) {
	plain := encodedAccess(t, Access{Resource: "https://mcp.example.com", Subject: "subject", ClientName: "client"})
	var a Access
	if err := a.decode(plain); err != nil || a.Subject != "subject" || a.ClientName != "client" {
		t.Fatalf("decode: %+v, %v", a, err)
	}
	for n := range plain {
		if a.decode(plain[:n]) == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(plain))
		}
	}
	if a.decode(append(bytes.Clone(plain), 0)) == nil {
		t.Error("a byte too many was accepted")
	}
	plain[0]++
	if a.decode(plain) == nil {
		t.Error("another version was accepted")
	}
}

// No two byte strings may decode to the same token, and none may panic.
func FuzzAccessDecode(f *testing.F) {
	f.Add(encodedAccess(f, Access{}))
	f.Add(encodedAccess(f, Access{Resource: "https://mcp.example.com", Groups: "a,b"}))
	f.Add(bytes.Repeat([]byte{0xff}, accessFixed+2))
	f.Fuzz(func(t *testing.T, plain []byte) {
		var a Access
		if err := a.decode(plain); err != nil {
			if err != ErrInvalid {
				t.Errorf("decode: %v", err)
			}
			return
		}
		if again := encodedAccess(t, a); !bytes.Equal(again, plain) {
			t.Errorf("%x decoded to what encodes as %x", plain, again)
		}
	})
}
