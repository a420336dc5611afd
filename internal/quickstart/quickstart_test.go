package quickstart

import (
	"net"
	"strings"
	"testing"
)

func TestLoopback(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, busyPort, _ := net.SplitHostPort(busy.Addr().String())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	_ = free.Close()
	for _, tc := range []struct {
		name, value   string
		want, address string // a part of the error, or the address
	}{
		{"by name", "localhost:" + port, "", "localhost:" + port},
		{"in capitals", "LocalHost:" + port, "", "localhost:" + port},
		{"a port alone", ":" + port, "", "localhost:" + port},
		{"by address", "127.0.0.1:" + port, "", "127.0.0.1:" + port},
		{"no port", "localhost", "is not host:port", ""},
		{"port nought", "localhost:0", "no port between", ""},
		{"a port with a sign", "localhost:+80", "no port between", ""},
		{"every address", "0.0.0.0:" + port, "not this computer's own", ""},
		{"every IPv6 address", "[::]:" + port, "not this computer's own", ""},
		{"another computer", "192.0.2.1:" + port, "not this computer's own", ""},
		{"a name", "localhost.example.com:" + port, "not this computer's own", ""},
		{"a busy port", "localhost:" + busyPort, "in use: stop what listens there, or choose another port with --from", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := Loopback("--from", tc.value)
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			if err == nil && a.String() != tc.address {
				t.Errorf("address %s, want %s", a, tc.address)
			}
		})
	}
}

func TestASiteByEveryNameOfThisComputer(t *testing.T) {
	a := Address{Host: "localhost", Port: "8080", bind: []string{"127.0.0.1", "::1"}}
	if got := a.Sites(); got != "http://localhost:8080, http://127.0.0.1:8080, http://[::1]:8080" {
		t.Errorf("sites %s", got)
	}
	if got := a.Bind(); got != "bind 127.0.0.1 [::1]" {
		t.Error(got)
	}
	a = Address{Host: "127.0.0.2", Port: "8080", bind: []string{"127.0.0.2"}}
	if a.Sites() != "http://127.0.0.2:8080" || a.Bind() != "bind 127.0.0.2" {
		t.Errorf("%s, %s", a.Sites(), a.Bind())
	}
}

func TestToken(t *testing.T) {
	for value, want := range map[string]string{
		"example.com": "`example.com`", `a "quoted" # value \`: "`a \"quoted\" # value \\`",
		"": "", "a`b": "", "{env.HOME}": "", "{$HOME}": "", "a\nb": "", "a\tb": "", "a\x7fb": "",
	} {
		token, err := Token("--flag", value)
		if token != want || (want == "") != (err != nil) {
			t.Errorf("%q: %s, %v", value, token, err)
		}
	}
}
