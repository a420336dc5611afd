package mcpauth

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// provenElsewhere lists the demands that need a running upstream, a provider or the network, and the tests
// that prove them. All others are subtests here, by their number.
var provenElsewhere = map[string][]string{
	"N19": {"TestOverTLSEveryCookieIsTiedToTheHost"},
	"N54": {"TestWhoLeavesTheAllowListGetsNoFurtherToken"}, // dropped in later revisions of the specification
	"N56": {"TestFinishChecksTheSignature", "TestFinishChecksTheClaims", "TestUserInfo"},
	"N75": {"TestFetch"},
	"N76": {"TestParseDocument"},
	"N77": {"TestDocumentRedirectsAreFiltered"},
	"N78": {"TestParseDocument"},
	"N79": {"TestDocumentIsCached"},
	"N80": {"TestDocumentURLs"},
	"N81": {"TestPublicAddress", "TestDialUnderRebinding"},
	"N82": {"TestAPageNeedsToBeAllowed", "TestPagesThatMayUseAResource"},
	"N83": {"TestSessionsOpenForTheirOwnerOnly", "TestUnboundSessionsPassUnchanged"},
	"N84": {"TestAnswersThatAreNoStreams"},
	"N85": {"TestServeKeepsWhatBelongsToTheRequest"},
	"N86": {"TestServeKeepsWhatBelongsToTheRequest", "TestOtherEndsPassUnchanged"},
	"N87": {"TestServeKeepsWhatBelongsToTheRequest"},
	"N88": {"TestMessagesThatWouldBeReadTwoWays"},
	"N89": {"TestCommentsAreNotHeldBack", "TestEventStreamsGetTheHeadersThatKeepThemMoving"},
	"N90": {"TestAClientThatHangsUpReachesTheUpstream"},
	"N91": {"TestEndpointsBehindAPrefix", "TestAClientThatKnowsOnlyTheAddressSignsInAndCallsTools"},
	"N93": {"TestSessionsOpenForTheirOwnerOnly"},
	"N94": {"TestAForgedIdentityNeverReachesTheServer", "TestServeSetsTheIdentity"},
}

// Each demand has a test that exists. A test that is renamed or deleted shows here.
func TestEveryMustHasATest(t *testing.T) {
	declared, walked := declaredTests(t), make(map[string]bool)
	subtest := regexp.MustCompile(`"(N\d\d) `)
	files, err := filepath.Glob("specmusts_*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range append(files, "specmusts_test.go") {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range subtest.FindAllSubmatch(source, -1) {
			walked[string(match[1])] = true
		}
	}
	for n := 1; n <= 94; n++ {
		row := fmt.Sprintf("N%02d", n)
		if !walked[row] && len(provenElsewhere[row]) == 0 {
			t.Errorf("%s has no test", row)
		}
		for _, name := range provenElsewhere[row] {
			if !declared[name] {
				t.Errorf("%s: there is no test %s", row, name)
			}
		}
	}
}

// declaredTests returns the names of all tests and fuzz targets of the project, whole-system ones included.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	declared := make(map[string]bool)
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range declaration.FindAllSubmatch(source, -1) {
			declared[string(match[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return declared
}
