package pages

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	colourRule = regexp.MustCompile(`--([a-z-]+):\s*#([0-9a-f]{6});`)
	fontRule   = regexp.MustCompile(`(?m)^([^{}\n]+)\{[^}]*?font-size:\s*(?:clamp\()?([0-9.]+)rem`)
)

// schemes returns the colours of the light and of the dark scheme.
func schemes(t *testing.T) (light, dark map[string]string) {
	t.Helper()
	start := strings.Index(stylesheet, "@media (prefers-color-scheme: dark)")
	if start < 0 {
		t.Fatal("no dark scheme")
	}
	colours := func(css string) map[string]string {
		m := map[string]string{}
		for _, c := range colourRule.FindAllStringSubmatch(css, -1) {
			m[c[1]] = c[2]
		}
		return m
	}
	return colours(stylesheet[:start]), colours(stylesheet[start:])
}

// luminance follows WCAG 2.2, "relative luminance".
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	rgb, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatalf("colour %q: %v", hex, err)
	}
	channel := func(shift uint) float64 {
		c := float64(rgb>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

func TestColoursHaveEnoughContrast(t *testing.T) {
	const textRatio, controlRatio = 4.5, 3.0 // WCAG 2.2, success criteria 1.4.3 and 1.4.11
	pairs := []struct {
		colour, on string
		ratio      float64
	}{
		{"text", "page", textRatio}, {"text", "card", textRatio}, {"text", "panel", textRatio},
		{"muted", "page", textRatio}, {"muted", "card", textRatio}, {"muted", "panel", textRatio},
		{"accent", "card", textRatio}, {"accent-strong", "card", textRatio},
		{"on-accent", "accent", textRatio}, {"on-accent", "accent-strong", textRatio},
		{"warning", "warning-panel", textRatio}, {"error", "error-panel", textRatio},
		{"error", "card", textRatio}, {"success", "success-panel", textRatio},
		{"control", "card", controlRatio}, {"focus", "card", controlRatio}, {"focus", "page", controlRatio},
	}
	light, dark := schemes(t)
	for scheme, colours := range map[string]map[string]string{"light": light, "dark": dark} {
		for _, p := range pairs {
			a, b := luminance(t, colours[p.colour]), luminance(t, colours[p.on])
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < p.ratio {
				t.Errorf("%s: %s on %s has %.2f, needs %.1f", scheme, p.colour, p.on, ratio, p.ratio)
			}
		}
		if len(colours) < len(light) {
			t.Errorf("%s has %d of %d colours", scheme, len(colours), len(light))
		}
	}
}

func TestTheRedirectHostIsTheLargestText(t *testing.T) {
	largest, smallestHost := 0.0, math.Inf(1)
	for _, m := range fontRule.FindAllStringSubmatch(stylesheet, -1) {
		size, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(m[1], ".host") {
			smallestHost = min(smallestHost, size)
		} else {
			largest = max(largest, size)
		}
	}
	if largest < 1.2 || smallestHost <= largest {
		t.Errorf("the redirect host is set in %.3frem, other text in up to %.3frem", smallestHost, largest)
	}
}

func TestTheStylesheetLoadsNothing(t *testing.T) {
	for _, s := range []string{"url(", "@import", "</", "\r", "expression("} {
		if strings.Contains(stylesheet, s) {
			t.Errorf("the stylesheet has %q", s)
		}
	}
	for _, s := range []string{"prefers-color-scheme", "prefers-reduced-motion", "forced-colors", ":focus-visible",
		"min-height: 2.75rem", "overflow-wrap: anywhere"} {
		if !strings.Contains(stylesheet, s) {
			t.Errorf("the stylesheet lacks %q", s)
		}
	}
}
