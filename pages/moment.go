package pages

import (
	"strconv"
	"time"
)

// moment is a point in time as people read it, with the exact one beside it.
type moment struct {
	Text  string // "3 hours ago", "2 Nov 2026"
	Full  string // for the title: "2 Nov 2026, 14:05 UTC"
	Stamp string // for programs; empty if there is no such time
}

func momentOf(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	return moment{
		Text:  relative(t, now),
		Full:  t.Format("2 Jan 2006, 15:04 MST"),
		Stamp: t.Format(time.RFC3339),
	}
}

// dateForm is a date that nobody reads with day and month exchanged.
const dateForm = "2 Jan 2006"

// relative is how long ago t was, or how far ahead, as long as that says more than the date.
func relative(t, now time.Time) string {
	d, before, after := now.Sub(t), "", " ago"
	if t.After(now) {
		d, before, after = t.Sub(now), "in ", ""
	}
	switch {
	case d < time.Minute && after != "":
		return "just now"
	case d < time.Minute:
		return "in a moment"
	case d < time.Hour:
		return before + whole(d, time.Minute, "minute") + after
	case d < 24*time.Hour:
		return before + whole(d, time.Hour, "hour") + after
	case d < 7*24*time.Hour:
		return before + whole(d, 24*time.Hour, "day") + after
	}
	return t.Format(dateForm)
}

// whole counts the units that d holds.
func whole(d, unit time.Duration, name string) string {
	n := int64(d / unit)
	if n != 1 {
		name += "s"
	}
	return strconv.FormatInt(n, 10) + " " + name
}
