package warren_test

import (
	"regexp"
	"strings"
	"testing"
)

var sentenceEnd = regexp.MustCompile(`[.!?:](\s|$)`)

// Every package says in more than a sentence what it is, in a comment that begins as godoc expects. A package of tests
// alone says it in one of them.
func TestPackagesAreDocumented(t *testing.T) {
	for _, p := range packages(t) {
		files := p.files
		if len(files) == 0 {
			files = p.tests
		}
		var doc, name string
		for _, f := range files {
			name = f.Name.Name
			if f.Doc != nil {
				doc += f.Doc.Text()
			}
		}
		begin := "Package " + name + " "
		if name == "main" {
			begin = "Command " + p.dir[strings.LastIndexByte(p.dir, '/')+1:] + " "
		}
		switch {
		case doc == "":
			t.Errorf("%s has no package comment", p.dir)
		case !strings.HasPrefix(doc, begin):
			t.Errorf("the package comment of %s begins %.40q, want %q", p.dir, doc, begin)
		case len(sentenceEnd.FindAllString(doc, -1)) < 2:
			t.Errorf("the package comment of %s is one sentence: %s", p.dir, doc)
		}
	}
}
