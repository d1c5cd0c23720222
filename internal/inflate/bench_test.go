package inflate

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"
)

// benchmarkPages are made up, or the text files in the folder that INFLATE_PAGES
// names, such as pages saved from real targets.
func benchmarkPages(b *testing.B) map[string][]byte {
	dir := os.Getenv("INFLATE_PAGES")
	if dir == "" {
		return map[string][]byte{"node": nodePage(1), "cadvisor": cadvisorPage(1, 100)}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	require.NoError(b, err)
	pages := map[string][]byte{}
	for _, file := range files {
		page, err := os.ReadFile(file)
		require.NoError(b, err)
		pages[strings.TrimSuffix(filepath.Base(file), ".txt")] = page
	}
	return pages
}

// BenchmarkPages compares with the two libraries. The same input again and again
// flatters all of them, since the processor learns its branches.
func BenchmarkPages(b *testing.B) {
	var ours Reader
	var klauspost gzip.Reader
	var std stdgzip.Reader
	buf := make([]byte, 64<<10)
	drain := func(r io.Reader) error {
		for {
			if _, err := r.Read(buf); err != nil {
				return err
			}
		}
	}
	for page, data := range benchmarkPages(b) {
		for _, level := range []int{1, 6} {
			src := packStd(b, data, level)
			for _, reader := range []struct {
				name string
				read func() error
			}{
				{"inflate", func() (err error) {
					for ours.Reset(src); err == nil; {
						_, err = ours.Next(0)
					}
					return err
				}},
				{"klauspost", func() error {
					if err := klauspost.Reset(bytes.NewReader(src)); err != nil {
						return err
					}
					return drain(&klauspost)
				}},
				{"std", func() error {
					if err := std.Reset(bytes.NewReader(src)); err != nil {
						return err
					}
					return drain(&std)
				}},
			} {
				b.Run(fmt.Sprintf("%s/%d/%s", page, level, reader.name), func(b *testing.B) {
					b.SetBytes(int64(len(data)))
					for b.Loop() {
						if err := reader.read(); !errors.Is(err, io.EOF) {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
