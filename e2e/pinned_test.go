package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pinnedDocuments are the lines of the mcp_auth block that make the edge read the client ID metadata
// documents of testdata/documents from there, as if their hosts had been asked.
func pinnedDocuments(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "documents", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no metadata documents: %v", err)
	}
	var lines strings.Builder
	lines.WriteString("clients {\n")
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var document struct {
			ClientID string `json:"client_id"`
		}
		if err := json.Unmarshal(body, &document); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		lines.WriteString("cimd pin " + document.ClientID + " `" + path + "`\n")
	}
	lines.WriteString("}")
	return lines.String()
}
