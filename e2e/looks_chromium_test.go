package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/chromium"
)

// prefer makes the tab one of a person who prefers a colour scheme.
func prefer(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// brightness is that of the colour behind an element and of its text, each from 0 to 255.
const brightness = `(e => {
	const grey = c => { const [r, g, b] = c.match(/[\d.]+/g).map(Number); return (r * 299 + g * 587 + b * 114) / 1000; };
	let behind = e;
	while (behind.parentElement && getComputedStyle(behind).backgroundColor == "rgba(0, 0, 0, 0)") behind = behind.parentElement;
	return [grey(getComputedStyle(behind).backgroundColor), grey(getComputedStyle(e).color)];
})(document.querySelector(".host"))`

func TestConsentOnPhonesAndDesktopsLightAndDark(t *testing.T) {
	t.Parallel()
	tab := chromium.Start(t)
	w := newLocalWorld(t)
	address := w.registerAs("A client with a name that is long enough to take two lines", "https://client.with-a-long-name.subdomain.example.com/callback")
	for _, screen := range []struct {
		name          string
		width, height int64
	}{{"phone", 360, 740}, {"desktop", 1440, 900}} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(screen.name+", "+scheme, func(t *testing.T) {
				err := chromedp.Do(tab, chromedp.EmulateViewport(screen.width, screen.height, chromedp.EmulateMobile), prefer(scheme),
					chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS(`button[value="allow"]`)))
				if err != nil {
					t.Fatal(err)
				}
				for what, script := range map[string]string{
					"the page scrolls sideways":                      fmt.Sprintf(`document.documentElement.scrollWidth > %d || innerWidth != %d`, screen.width, screen.width),
					"something is cut off":                           `[...document.querySelectorAll("main *")].some(e => { const r = e.getBoundingClientRect(); return r.width > 0 && (r.left < 0 || r.right > innerWidth + 1); })`,
					"a button is too small to hit (WCAG 2.2, 2.5.8)": `[...document.querySelectorAll("main button")].some(e => { const r = e.getBoundingClientRect(); return r.width < 24 || r.height < 24; })`,
				} {
					bad, err := chromedp.Run(tab, chromedp.Evaluate[bool](script))
					if err != nil || bad {
						t.Errorf("%s, %v", what, err)
					}
				}
				grey, err := chromedp.Run(tab, chromedp.Evaluate[[]float64](brightness))
				if err != nil || len(grey) != 2 || (grey[0] < 128) != (scheme == "dark") || (grey[1] < 128) == (scheme == "dark") {
					t.Errorf("brightness behind and of the host is %v, %v", grey, err)
				}
			})
		}
	}
}

// Whatever came to stand in the page, it could neither run nor load anything, here or elsewhere.
func TestTheConsentPageLoadsNothing(t *testing.T) {
	t.Parallel()
	tab := chromium.Start(t)
	w := newLocalWorld(t)
	address := w.registerAs("Client", "https://client.example/callback")
	if err := chromedp.Do(tab, chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS(`button[value="allow"]`))); err != nil {
		t.Fatal(err)
	}
	for _, markup := range []string{
		`<img src="https://evil.example/x.png">`, `<img src="/logo.png">`, `<img src="x" onerror="document.title='owned'">`,
		`<link rel="stylesheet" href="https://evil.example/x.css">`, `<style>body { color: red }</style>`, `<p style="color: red">x</p>`,
		`<iframe src="https://evil.example/"></iframe>`, `<video src="https://evil.example/x.mp4"></video>`,
		`<object data="https://evil.example/x"></object>`, `<base href="https://evil.example/">`,
	} {
		blocked, err := chromedp.Run(tab, chromedp.Evaluate[string](fmt.Sprintf(`new Promise(done => {
			document.addEventListener("securitypolicyviolation", e => done(e.effectiveDirective), { once: true });
			const place = document.createElement("div");
			place.innerHTML = %q;
			document.body.append(place);
			setTimeout(() => done(""), 3000);
		})`, markup), chromedp.EvalAwaitPromise))
		if err != nil || blocked == "" {
			t.Errorf("%s was not blocked, %v", markup, err)
		}
	}
	if title, err := chromedp.Run(tab, chromedp.Title()); err != nil || strings.Contains(title, "owned") {
		t.Errorf("a script ran, or %v", err)
	}
}
