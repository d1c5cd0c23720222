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
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/prometheus/tsdb"
)

// An archive of a workspace is a tar: files of blocks, as Prometheus has them on
// disk, below a folder for each block, and at the end a manifest with the sizes
// and checksums of all of them. What ends before the manifest is no archive.
const (
	manifestName  = "manifest.json"
	archiveFormat = 1
	importPrefix  = "import-"
	exportPrefix  = "export-"
	blockRange    = 30 * time.Minute // that blocks are aligned to
	maxManifest   = 64 << 20
	metaName      = "meta.json"
)

// manifest says what is in an archive.
type manifest struct {
	Format    int            `json:"format"`
	Workspace string         `json:"workspace"`
	Created   time.Time      `json:"created"`
	Files     []manifestFile `json:"files"`
}

type manifestFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Export writes all samples of a workspace as an archive. The workspace stays in
// use meanwhile; what comes in while Export runs may be in the archive or not.
// Files of blocks are linked, not copied, and what is in memory is written as
// blocks first, for which there has to be room.
func (s *Store) Export(ctx context.Context, id string, w io.Writer) error {
	h, err := s.AcquireRead(ctx, id)
	if err != nil {
		return err
	}
	defer h.Release()
	dir, err := os.MkdirTemp(s.path(id), exportPrefix)
	if err != nil {
		return fmt.Errorf("export workspace %s: %w", id, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := h.snapshot(ctx, dir, s); err != nil {
		return fmt.Errorf("export workspace %s: %w", id, err)
	}
	if err := archive(ctx, w, dir, manifest{Format: archiveFormat, Workspace: id, Created: s.cfg.Now().UTC()}); err != nil {
		return fmt.Errorf("export workspace %s: %w", id, err)
	}
	return nil
}

// snapshot makes blocks of all there is in dir. Memory comes first: what moves
// from there to a block meanwhile is then there twice and not missing, and the
// same sample twice is one when it is read.
func (d *DB) snapshot(ctx context.Context, dir string, s *Store) error {
	if err := d.CompactOOOHead(ctx); err != nil {
		return fmt.Errorf("make blocks of samples out of order: %w", err)
	}
	head := d.Head()
	if head.NumSeries() > 0 && head.MaxTime() >= head.MinTime() {
		size := blockRange.Milliseconds()
		c, err := tsdb.NewLeveledCompactor(ctx, nil, s.logger.With("workspace", d.id, "component", "export"), []int64{size}, nil, nil)
		if err != nil {
			return err
		}
		// So that the blocks say nothing about how far memory reaches where they
		// are brought in.
		var base tsdb.BlockMeta
		base.Compaction.SetOutOfOrder()
		for t := floor(head.MinTime(), size); t <= head.MaxTime(); t += size {
			if _, err := c.Write(dir, tsdb.NewRangeHead(head, t, t+size-1), t, t+size, &base); err != nil {
				return fmt.Errorf("make a block of what is in memory: %w", err)
			}
		}
	}
	return d.Snapshot(dir, false)
}

func floor(t, size int64) int64 {
	r := t % size
	if r < 0 {
		r += size
	}
	return t - r
}

// archive writes the files of all blocks below dir, then the manifest.
func archive(ctx context.Context, w io.Writer, dir string, m manifest) error {
	tw := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if !blockFile.MatchString(name) {
			return nil
		}
		f, err := addFile(tw, path, name)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, f)
		return nil
	})
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: manifestName, Mode: 0o600, Size: int64(len(text)), ModTime: m.Created}); err != nil {
		return err
	}
	if _, err := tw.Write(text); err != nil {
		return err
	}
	return tw.Close()
}

func addFile(tw *tar.Writer, path, name string) (manifestFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return manifestFile{}, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return manifestFile{}, err
	}
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: st.Size(), ModTime: st.ModTime()}); err != nil {
		return manifestFile{}, err
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(tw, sum), f, st.Size()); err != nil {
		return manifestFile{}, err
	}
	return manifestFile{name, st.Size(), hex.EncodeToString(sum.Sum(nil))}, nil
}

// ArchiveError says what is wrong with an archive.
type ArchiveError struct{ Message string }

// Error implements error.
func (e *ArchiveError) Error() string { return "archive: " + e.Message }

func badArchive(format string, args ...any) error { return &ArchiveError{fmt.Sprintf(format, args...)} }

// Imported says what an import brought.
type Imported struct {
	Blocks  int    `json:"blocks"`
	Samples uint64 `json:"samples"`
	// Present are blocks that the workspace had already.
	Present int `json:"present"`
	// Expired are blocks that are older than what the workspace keeps.
	Expired int `json:"expired"`
}

// Import brings the samples of an archive into a workspace, which stays in use;
// what it has already stays too. Nothing is taken of an archive that is not whole
// and sound. It returns once queries see the samples.
func (s *Store) Import(ctx context.Context, id string, r io.Reader) (*Imported, error) {
	h, err := s.AcquireWrite(ctx, id)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	dir, err := os.MkdirTemp(s.path(id), importPrefix)
	if err != nil {
		return nil, fmt.Errorf("import into workspace %s: %w", id, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	blocks, err := s.unpack(ctx, r, dir)
	if err != nil {
		return nil, fmt.Errorf("import into workspace %s: %w", id, err)
	}
	out, added := new(Imported), []string(nil)
	for _, b := range blocks {
		samples, err := inspect(ctx, filepath.Join(dir, b))
		if err != nil {
			return nil, fmt.Errorf("import into workspace %s: %w", id, err)
		}
		if _, err := os.Stat(filepath.Join(h.Dir(), b)); err == nil {
			out.Present++
			continue
		}
		out.Samples += samples
		added = append(added, b)
	}
	for _, b := range added {
		if err := os.Rename(filepath.Join(dir, b), filepath.Join(h.Dir(), b)); err != nil {
			return nil, fmt.Errorf("import into workspace %s: %w", id, err)
		}
		out.Blocks++
	}
	if err := syncDir(h.Dir()); err != nil {
		return nil, fmt.Errorf("import into workspace %s: %w", id, err)
	}
	if out.Expired, err = h.awaitBlocks(ctx, added); err != nil {
		return out, fmt.Errorf("import into workspace %s: the samples are there and show within a minute: %w", id, err)
	}
	return out, nil
}

// awaitBlocks waits until the database has looked at blocks that are new to it,
// and returns how many it has thrown away.
func (d *DB) awaitBlocks(ctx context.Context, added []string) (gone int, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		gone = 0
		known := make(map[string]bool)
		for _, b := range d.Blocks() {
			known[b.Meta().ULID.String()] = true
			for _, p := range b.Meta().Compaction.Sources {
				known[p.String()] = true // became part of another one meanwhile
			}
		}
		waiting := slices.ContainsFunc(added, func(b string) bool {
			if known[b] {
				return false
			}
			_, err := os.Stat(filepath.Join(d.Dir(), b))
			if errors.Is(err, fs.ErrNotExist) {
				gone++
				return false
			}
			return true
		})
		if !waiting {
			return gone, nil
		}
		select {
		case <-ctx.Done():
			return gone, ctx.Err()
		case <-tick.C:
		}
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
