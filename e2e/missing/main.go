// Command missing says which tests are skipped on this computer because a program is not installed.
// Without it a passing run would hide that.
package main

import (
	"fmt"
	"os/exec"
)

func main() {
	for _, tool := range []struct{ what, install string }{
		{"chromium", "the sign-in by a person in a browser"},
		{"node", "connecting clients that are written in JavaScript"},
		{"npm", "installing those clients"},
		{"redis-server", "several machines that share sessions in Redis"},
	} {
		if _, err := exec.LookPath(tool.what); err != nil {
			fmt.Printf("skipped, since %s is not installed: %s\n", tool.what, tool.install)
		}
	}
}
