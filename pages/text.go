package pages

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxName     = 80  // runes of a name; longer ones are made to push other facts away
	maxSentence = 400 // runes of a description or an error text
	maxAddress  = 320 // runes of a host or an address: a full DNS name fits, with its port
	maxMarks    = 3   // combining marks on one letter; more of them paint over the lines around it
)

// DisplayName makes a self-chosen name safe to show to people who decide by it: no control, bidi or
// invisible characters, single spaces, no quotation mark that could end the quotation it stands in,
// and at most 80 runes. It does not escape: that is the template's job.
func DisplayName(s string) string {
	return cutEnd(visible(s, maxName+1, true), maxName)
}

// sentence is DisplayName for longer text that is not quoted.
func sentence(s string) string {
	return cutEnd(visible(s, maxSentence+1, false), maxSentence)
}

// address cleans a URL or an e-mail address.
func address(s string) string {
	return cutMiddle(visible(s, math.MaxInt, false), maxAddress)
}

// host is address for a host name, in the form DNS knows it: xn--... cannot be mistaken for the
// Latin name that a Unicode spelling imitates.
func host(s string) string {
	s = visible(s, math.MaxInt, false)
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		ascii, err := hostProfile.ToASCII(s)
		if err != nil {
			ascii = strings.Trim(strconv.QuoteToASCII(s), `"`)
		}
		s = ascii
	}
	return cutMiddle(s, maxAddress)
}

// hostProfile reads a host as browsers do (UTS #46, non-transitional), and leaves a port alone.
var hostProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// visible keeps what a reader can see of s, at most limit runes of it.
func visible(s string, limit int, quoted bool) string {
	var b strings.Builder
	count, marks := 0, 0
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || r == '\u2800': // the blank Braille pattern is a space in all but name
			space = count > 0
			continue
		case invisible(r):
			continue
		case unicode.In(r, unicode.Mn, unicode.Me):
			// A mark without a letter would attach itself to the text before the name.
			if count == 0 || space || marks == maxMarks {
				continue
			}
			marks++
		default:
			marks = 0
		}
		if space {
			b.WriteByte(' ')
			count++
			space = false
		}
		if quoted && unicode.Is(doubleQuotes, r) {
			r = '\''
		}
		b.WriteRune(r)
		if count++; count >= limit {
			break
		}
	}
	return b.String()
}

// invisible reports whether r shows nothing, changes how others are shown, or shows something
// different on each system: controls, formats (bidi, zero-width, tags), fillers, variation selectors,
// private use and unassigned code points.
func invisible(r rune) bool {
	return !unicode.IsGraphic(r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// doubleQuotes are the characters that a reader may take for the end of a quoted name.
var doubleQuotes = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: '"', Hi: '"', Stride: 1},
		{Lo: '«', Hi: '«', Stride: 1},
		{Lo: '»', Hi: '»', Stride: 1},
		{Lo: '\u02ba', Hi: '\u02ba', Stride: 1}, // modifier letter double prime
		{Lo: '\u02dd', Hi: '\u02dd', Stride: 1}, // double acute accent
		{Lo: '\u02ee', Hi: '\u02ee', Stride: 1}, // modifier letter double apostrophe
		{Lo: '\u201c', Hi: '\u201f', Stride: 1}, // “ ” „ ‟
		{Lo: '\u2033', Hi: '\u2034', Stride: 1}, // double and triple prime
		{Lo: '\u2036', Hi: '\u2037', Stride: 1}, // the same, reversed
		{Lo: '\u275d', Hi: '\u275e', Stride: 1}, // heavy quotation ornaments
		{Lo: '\u2760', Hi: '\u2760', Stride: 1},
		{Lo: '\u301d', Hi: '\u301f', Stride: 1}, // CJK double primes
		{Lo: '\uff02', Hi: '\uff02', Stride: 1}, // full-width quotation mark
	},
	R32:         []unicode.Range32{{Lo: 0x1f676, Hi: 0x1f678, Stride: 1}},
	LatinOffset: 3,
}

// cutEnd shortens s to limit runes, the ellipsis included.
func cutEnd(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return strings.TrimRight(string([]rune(s)[:limit-1]), " ") + "…"
}

// cutMiddle shortens s to limit runes and keeps its end: who is behind a host name stands there.
func cutMiddle(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)
	head := (limit - 1) / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(limit-1-head):])
}

// oneOf joins names for a sentence: "Google", "Google or GitHub", "Google, GitHub or Okta".
func oneOf(all []string) string { return join(names(all), " or ") }

// and is oneOf for things that belong together.
func and(all []string) string { return join(names(all), " and ") }

func join(shown []string, before string) string {
	last := len(shown) - 1
	if last < 1 {
		return strings.Join(shown, "")
	}
	return strings.Join(shown[:last], ", ") + before + shown[last]
}

// wait says how long d is, in the roughest words that do not promise too early a moment; "" when there
// is nothing to wait for.
func wait(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d <= 90*time.Second:
		return amount(d, time.Second, "second")
	case d <= 90*time.Minute:
		return amount(d, time.Minute, "minute")
	default:
		return amount(d, time.Hour, "hour")
	}
}

// amount counts d in units, rounded up.
func amount(d, unit time.Duration, name string) string {
	n := int64((d-1)/unit) + 1
	if n != 1 {
		name += "s"
	}
	return strconv.FormatInt(n, 10) + " " + name
}
