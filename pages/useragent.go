package pages

import "strings"

// browserName makes of a User-Agent what a person would call the browser: "Firefox on Windows". Only
// names from the lists below come out, so that nobody writes text onto somebody's page with it.
func browserName(userAgent string) string {
	browser, system := first(userAgent, browsers), first(userAgent, systems)
	switch {
	case browser == "" && system == "":
		return "Unknown browser"
	case system == "":
		return browser
	case browser == "":
		return "A browser on " + system
	}
	return browser + " on " + system
}

type word struct{ token, name string }

// The first that is found counts: browsers also name those that they want to be taken for.
var (
	browsers = []word{
		{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"EdgiOS/", "Edge"}, {"OPR/", "Opera"}, {"Vivaldi/", "Vivaldi"},
		{"SamsungBrowser/", "Samsung Internet"}, {"FxiOS/", "Firefox"}, {"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"},
	}
	systems = []word{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"},
		{"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"},
	}
)

func first(text string, words []word) string {
	for _, w := range words {
		if strings.Contains(text, w.token) {
			return w.name
		}
	}
	return ""
}
