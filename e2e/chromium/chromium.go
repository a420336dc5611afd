// Package chromium drives a real browser, without a window, through the pages a person sees.
package chromium

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// RequireTool finds a program and skips the test when it is not installed; in continuous
// integration (CI=true) a missing program is a failure.
func RequireTool(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and in CI every test must run", names[0])
	}
	t.Skipf("%s is not installed: install it to run this test", names[0])
	return ""
}

// Start opens a browser with an empty profile and returns the context of its tab.
func Start(t testing.TB) context.Context {
	t.Helper()
	path := RequireTool(t, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
	// Not the test's context: it ends before the cleanups, and the browser must be gone before its
	// profile is removed.
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.Headless,
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	browser, cancelBrowser := chromedp.NewContext(allocator, chromedp.WithLogf(t.Logf), chromedp.WithErrorf(t.Logf))
	t.Cleanup(func() {
		_ = chromedp.Cancel(browser)
		cancelBrowser()
		cancelAllocator()
	})
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	tab, cancel := context.WithTimeout(browser, 90*time.Second)
	t.Cleanup(cancel)
	return tab
}
