package mcpauth

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Whoever mistypes an option is told all there are, so the list has to be that of the parsers.
func TestTheListOfOptionsHasEveryOneThatIsParsed(t *testing.T) {
	parsed := parsedOptions(t)
	for _, module := range caddy.GetModules("mcp_auth.providers") {
		parsed = append(parsed, module.ID.Name())
	}
	listed := strings.Split(siteWords, ", ")
	for _, word := range parsed {
		if !slices.Contains(listed, word) {
			t.Errorf("%s is an option, and the message about unknown ones does not name it", word)
		}
	}
	for _, word := range listed {
		if !slices.Contains(parsed, word) {
			t.Errorf("%s is named in the message about unknown options, and is none", word)
		}
	}
}

// parsedOptions are the words that the parsers of an mcp_auth block compare with.
func parsedOptions(t *testing.T) (words []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || !slices.Contains([]string{"unmarshal", "unmarshalOption", "unmarshalProtection"}, f.Name.Name) {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				var compared []ast.Expr
				switch n := n.(type) {
				case *ast.CaseClause:
					compared = n.List
				case *ast.KeyValueExpr:
					compared = []ast.Expr{n.Key}
				}
				for _, e := range compared {
					if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
						word, _ := strconv.Unquote(literal.Value)
						words = append(words, word)
					}
				}
				return true
			})
		}
	}
	return words
}
