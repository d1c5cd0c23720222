package app

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// watchEvery is how often the files of a configuration are looked at. They are
// small, and reading them sees what notifications miss: a ConfigMap's swapped
// links, network file systems.
const watchEvery = 5 * time.Second

// filesSum says what files hold.
type filesSum = [sha256.Size]byte

// filesDigest is the content of the files, and which ones the patterns match.
func filesDigest(files, patterns []string) filesSum {
	var all []string
	for _, p := range patterns {
		found, _ := filepath.Glob(p) // a bad pattern was refused when it was read
		all = append(all, found...)
	}
	all = append(all, files...)
	slices.Sort(all)
	h := sha256.New()
	for _, f := range slices.Compact(all) {
		b, err := os.ReadFile(f)
		sum := sha256.Sum256(b)
		h.Write([]byte(f))
		if err == nil {
			h.Write(sum[:])
		}
	}
	return filesSum(h.Sum(nil))
}

// watchFiles calls reload when what files returns has other content, once it has
// stayed the same for one more look: files are written bit by bit. What another
// reload has read in the meantime, as known says, needs no further one.
func watchFiles(ctx context.Context, files func() (files, patterns []string), known func() *filesSum, reload func()) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	loaded := filesDigest(files())
	last := loaded
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := filesDigest(files())
		if k := known(); k != nil && *k == now {
			loaded = now
		}
		if now != loaded && now == last {
			reload()
			// A reload can name other files, and a failed one is not repeated.
			now = filesDigest(files())
			loaded = now
		}
		last = now
	}
}
