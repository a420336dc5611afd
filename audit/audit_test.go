package audit_test

import (
	"bytes"
	"context"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

type requestKey struct{}

func recorded(t *testing.T, e audit.Event) (observer.LoggedEntry, map[string]any) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	log := audit.Log{Logger: zap.New(core), RequestID: func(ctx context.Context) string {
		id, _ := ctx.Value(requestKey{}).(string)
		return id
	}}
	log.Record(context.WithValue(t.Context(), requestKey{}, "request-1"), e)
	if logs.Len() != 1 {
		t.Fatalf("%d entries", logs.Len())
	}
	entry := logs.All()[0]
	return entry, entry.ContextMap()
}

func TestAnEventIsOneEntry(t *testing.T) {
	entry, fields := recorded(t, audit.Event{
		Type: audit.Revocation, Allowed: true, Reason: "because", By: audit.ByPerson, Subject: "alice", Email: "alice@example.com",
		ClientID: "claude", ClientName: "Claude", Resource: "https://mcp.example.com", Provider: "google", Grant: "0123",
		Credential: "ci", ClientAddr: "192.0.2.1",
	})
	want := map[string]any{
		"outcome": "allowed", "reason": "because", "by": "person", "user_id": "alice", "email": "alice@example.com",
		"client_id": "claude", "client_name": "Claude", "resource": "https://mcp.example.com", "provider": "google",
		"grant": "0123", "credential": "ci", "client_ip": "192.0.2.1", "request_id": "request-1",
	}
	if entry.Message != "revocation" || entry.Level != zapcore.InfoLevel || !reflect.DeepEqual(fields, want) {
		t.Errorf("%s %s %v, want %v", entry.Level, entry.Message, fields, want)
	}
	if n := reflect.TypeFor[audit.Event]().NumField(); n != len(want) {
		t.Errorf("an event has %d fields, and the entry %d", n, len(want))
	}
}

func TestRefusalsAreWarningsAndLeaveOutWhatDoesNotApply(t *testing.T) {
	entry, fields := recorded(t, audit.Event{Type: audit.SignIn, Reason: "not on the list"})
	if entry.Level != zapcore.WarnLevel || fields["outcome"] != "refused" {
		t.Errorf("%s %v", entry.Level, fields)
	}
	if got := slices.Sorted(maps.Keys(fields)); !reflect.DeepEqual(got, []string{"outcome", "reason", "request_id"}) {
		t.Errorf("fields %v", got)
	}
}

func TestTypesAreDistinct(t *testing.T) {
	seen := map[audit.Type]bool{}
	for _, kind := range audit.Types() {
		if kind == "" || seen[kind] {
			t.Errorf("%q is listed twice, or empty", kind)
		}
		seen[kind] = true
	}
}

func TestSamplerPicksTheFirstInEachMinute(t *testing.T) {
	var s audit.Sampler
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		after time.Duration
		key   string
		want  bool
	}{
		{0, "a", true}, {0, "a", false}, {0, "b", true}, {59 * time.Second, "a", false},
		{time.Second, "a", true}, {0, "b", true}, {0, "b", false},
		{-time.Hour, "a", true}, // the clock was set back
	} {
		now = now.Add(step.after)
		if got := s.First(step.key, now); got != step.want {
			t.Errorf("First(%q) at %s: %v", step.key, now, got)
		}
	}
}

func TestSamplerIsBounded(t *testing.T) {
	var s audit.Sampler
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	first := 0
	var running sync.WaitGroup
	for worker := range 4 {
		running.Go(func() {
			for i := range 2000 {
				if s.First(strconv.Itoa(worker*2000+i), now) {
					mu.Lock()
					first++
					mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	if first != 2048 {
		t.Errorf("%d of 8000 keys were picked, want 2048", first)
	}
	if !s.First("later", now.Add(time.Minute)) {
		t.Error("a full minute silences the next")
	}
}

// What strangers choose (names, addresses, reasons) must not end its line, begin another one or move a
// cursor, in either of the formats that Caddy writes (LO-03).
func TestWhatStrangersChooseStaysInItsField(t *testing.T) {
	const hostile = "x\n{\"msg\":\"sign_in\",\"outcome\":\"allowed\"}\r\n\x1b[2K\"\u2028"
	for name, encoder := range map[string]zapcore.Encoder{
		"json":    zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		"console": zapcore.NewConsoleEncoder(zap.NewProductionEncoderConfig()),
	} {
		var out bytes.Buffer
		log := audit.Log{Logger: zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.DebugLevel))}
		log.Record(t.Context(), audit.Event{
			Type: audit.AccessDenied, Reason: hostile, Subject: hostile, Email: hostile, ClientID: hostile, ClientName: hostile,
			Resource: hostile, Grant: hostile, Credential: hostile, ClientAddr: hostile,
		})
		line := out.String()
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") || strings.ContainsAny(line, "\r\x1b") || strings.Contains(line, `"outcome":"allowed"`) {
			t.Errorf("%s: %q", name, line)
		}
	}
}
