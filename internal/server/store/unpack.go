package store

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

// blockFile are the names that files in an archive may have. Nothing else is
// ever made on disk.
var blockFile = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{26}/(meta\.json|index|tombstones|chunks/[0-9]{6})$`)

// unpack writes the files of an archive below dir, checks them against the
// manifest and returns the names of the blocks. Other entries are passed over.
func (s *Store) unpack(ctx context.Context, r io.Reader, dir string) ([]string, error) {
	tr := tar.NewReader(r)
	have := make(map[string]manifestFile)
	var m *manifest
	for m == nil {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, badArchive("it ends early: there is no %s at its end", manifestName)
		}
		if err != nil {
			return nil, badArchive("%v", err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch {
		case head.Name == manifestName:
			if m, err = readManifest(tr); err != nil {
				return nil, err
			}
		case !blockFile.MatchString(head.Name):
			if head.Typeflag == tar.TypeReg && strings.Contains(head.Name, "/") {
				return nil, badArchive("%.100q is no file of a block", head.Name)
			}
		case head.Typeflag != tar.TypeReg:
			return nil, badArchive("%q is no regular file", head.Name)
		default:
			if _, twice := have[head.Name]; twice {
				return nil, badArchive("%q is there twice", head.Name)
			}
			if have[head.Name], err = s.unpackFile(tr, head, dir); err != nil {
				return nil, err
			}
		}
	}
	return checkManifest(m, have)
}

func readManifest(r io.Reader) (*manifest, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return nil, badArchive("%s: %v", manifestName, err)
	}
	m := new(manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, badArchive("%s: %v", manifestName, err)
	}
	if m.Format != archiveFormat {
		return nil, badArchive("format %d, this program reads %d", m.Format, archiveFormat)
	}
	return m, nil
}

func (s *Store) unpackFile(tr *tar.Reader, head *tar.Header, dir string) (manifestFile, error) {
	if free, err := s.cfg.FreeBytes(dir); err == nil && s.cfg.MinFreeDisk >= 0 && int64(free)-head.Size < s.cfg.MinFreeDisk {
		return manifestFile{}, &UnavailableError{fmt.Sprintf("no room on disk: %d bytes free, a file of the archive has %d and writes need %d more (setting store.min_free_disk)", free, head.Size, s.cfg.MinFreeDisk)}
	}
	path := filepath.Join(dir, filepath.FromSlash(head.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return manifestFile{}, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return manifestFile{}, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), tr)
	if err != nil {
		_ = f.Close()
		return manifestFile{}, badArchive("%s: %v", head.Name, err)
	}
	return manifestFile{head.Name, n, hex.EncodeToString(sum.Sum(nil))}, errors.Join(f.Sync(), f.Close())
}

// checkManifest compares what is there with what there has to be.
func checkManifest(m *manifest, have map[string]manifestFile) ([]string, error) {
	var blocks []string
	for _, want := range m.Files {
		got, ok := have[want.Name]
		if !ok {
			return nil, badArchive("%.100q is missing", want.Name)
		}
		if got != want {
			return nil, badArchive("%q has %d bytes with checksum %s, it should have %d with %s", want.Name, got.Size, got.SHA256, want.Size, want.SHA256)
		}
		delete(have, want.Name)
		if block, _, _ := strings.Cut(want.Name, "/"); !slices.Contains(blocks, block) {
			blocks = append(blocks, block)
		}
	}
	for name := range have {
		return nil, badArchive("%q is not in the manifest", name)
	}
	return blocks, nil
}

// inspect reads all of a block, and marks it so that it does not tell the
// database how far its memory reaches. What is wrong in it must not reach a
// database; the readers of blocks trust their files, so that they may panic.
func inspect(ctx context.Context, dir string) (samples uint64, err error) {
	name := filepath.Base(dir)
	defer func() {
		if p := recover(); p != nil {
			err = badArchive("block %s cannot be read: %v", name, p)
		}
	}()
	b, err := tsdb.OpenBlock(nil, dir, nil, nil)
	if err != nil {
		return 0, badArchive("block %s: %v", name, err)
	}
	meta := b.Meta()
	samples, err = readAll(ctx, b)
	if err = errors.Join(err, b.Close()); err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, badArchive("block %s: %v", name, err)
	}
	size := blockRange.Milliseconds()
	switch {
	case meta.ULID.String() != name:
		return 0, badArchive("block %s says that it is %s", name, meta.ULID)
	case meta.MaxTime%size != 0 || meta.MinTime >= meta.MaxTime:
		return 0, badArchive("block %s is not aligned to %s: from %d to %d", name, blockRange, meta.MinTime, meta.MaxTime)
	}
	meta.Compaction.SetOutOfOrder()
	meta.Compaction.Deletable, meta.Compaction.Failed = false, false
	text, err := json.MarshalIndent(&meta, "", "\t")
	if err != nil {
		return 0, err
	}
	return samples, replaceFile(filepath.Join(dir, metaName), text)
}

// readAll counts the samples of a block, all of which have to be inside of its
// times.
func readAll(ctx context.Context, b *tsdb.Block) (samples uint64, err error) {
	ir, err := b.Index()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ir.Close()) }()
	cr, err := b.Chunks()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, cr.Close()) }()
	key, value := index.AllPostingsKey()
	p, err := ir.Postings(ctx, key, value)
	if err != nil {
		return 0, err
	}
	var builder labels.ScratchBuilder
	var metas []chunks.Meta
	for p.Next() {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := ir.Series(p.At(), &builder, &metas); err != nil {
			return 0, err
		}
		for _, m := range metas {
			if m.MinTime < b.MinTime() || m.MaxTime >= b.MaxTime() || m.MinTime > m.MaxTime {
				return 0, fmt.Errorf("samples from %d to %d outside of the block", m.MinTime, m.MaxTime)
			}
			chunk, _, err := cr.ChunkOrIterable(m)
			if err != nil {
				return 0, err
			}
			samples += uint64(chunk.NumSamples())
		}
	}
	return samples, errors.Join(p.Err(), readPostings(ctx, ir))
}

// readPostings reads by which labels series are found.
func readPostings(ctx context.Context, ir tsdb.IndexReader) error {
	names, err := ir.LabelNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		values, err := ir.LabelValues(ctx, name, nil)
		if err != nil {
			return err
		}
		for _, value := range values {
			if err := ctx.Err(); err != nil {
				return err
			}
			p, err := ir.Postings(ctx, name, value)
			if err != nil {
				return err
			}
			for p.Next() {
			}
			if err := p.Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

func replaceFile(path string, text []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
