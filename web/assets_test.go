package web_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/mangru/mangru/web"
)

// Whatever the build tag, there is a page to serve, and every script it names is there too.
func TestAssetsHoldThePageAndItsScripts(t *testing.T) {
	assets := web.Assets()
	page, err := fs.ReadFile(assets, "index.html")
	if err != nil {
		t.Fatalf("read index.html: %v", err)
	}
	if !strings.Contains(string(page), "<title>Mangru</title>") {
		t.Errorf("index.html has no title: %.200s", page)
	}
	for _, part := range strings.Split(string(page), `src="/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if _, err := fs.Stat(assets, name); err != nil {
			t.Errorf("index.html names %s: %v", name, err)
		}
	}
}
