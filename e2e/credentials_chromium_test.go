package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// twoServers want a credential each: a token that is typed in, and an account that is connected.
const twoServers = `resource /keyed/* {
			name "Keyed tools with a name that is long enough to take two lines"
			credentials {
				hint "Create a token at https://keyed.example/settings/developers/personal-access-tokens with the scope tools:read"
			}
		}
		resource /forge/* {
			credentials oauth https://forge.example {
				client_id edge
				authorization_endpoint https://forge.example/authorize
				token_endpoint https://forge.example/token
			}
		}
		portal /my`

func TestAPersonStoresATokenWithTheKeyboard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, twoServers)
	p := newOwnPage(t, w, "/my")
	p.signIn()
	p.reach("Credentials")
	press(t, p.tab, kb.Enter)
	p.says("Servers that ask for one")
	for _, want := range []string{"Nothing stored", "Not connected", w.url("/forge"), "https://keyed.example/settings"} {
		p.says(want)
	}
	p.reach("Token for Keyed tools with a name that is long enough to take two lines")
	p.do(chromedp.SendKeys(chromedp.CSS(`input[name="credential"]`), "keyed token"))
	press(t, p.tab, kb.Enter)
	p.says("That is no token")
	p.do(chromedp.SendKeys(chromedp.CSS(`input[name="credential"]`), "keyed-token-of-alice-1f0c"))
	press(t, p.tab, kb.Enter)
	p.says("The token is stored. Go back to your application")
	p.looksRight()
	p.reach("Remove Keyed tools with a name that is long enough to take two lines")
	press(t, p.tab, kb.Enter)
	p.says("The token is removed")
}

// looksRight looks at the page on a phone and on a desktop, light and dark.
func (p *ownPage) looksRight() {
	p.t.Helper()
	for _, screen := range []struct {
		name          string
		width, height int64
	}{{"phone", 360, 740}, {"desktop", 1440, 900}} {
		for _, scheme := range []string{"light", "dark"} {
			p.do(chromedp.EmulateViewport(screen.width, screen.height, chromedp.EmulateMobile), prefer(scheme))
			for what, script := range map[string]string{
				"the page scrolls sideways":                      fmt.Sprintf(`document.documentElement.scrollWidth > %d || innerWidth != %d`, screen.width, screen.width),
				"something is cut off":                           `[...document.querySelectorAll("main *:not(.unseen):not(.unseen *)")].some(e => { const r = e.getBoundingClientRect(); return r.width > 0 && (r.left < 0 || r.right > innerWidth + 1); })`,
				"a button is too small to hit (WCAG 2.2, 2.5.8)": `[...document.querySelectorAll("main button, main input:not([type=hidden])")].some(e => { const r = e.getBoundingClientRect(); return r.width < 24 || r.height < 24; })`,
				"a field has no label":                           `[...document.querySelectorAll("main input:not([type=hidden])")].some(e => !e.labels.length)`,
			} {
				bad, err := chromedp.Run(p.tab, chromedp.Evaluate[bool](script))
				if err != nil || bad {
					p.t.Errorf("%s, %s: %s, %v", screen.name, scheme, what, err)
				}
			}
		}
	}
}
