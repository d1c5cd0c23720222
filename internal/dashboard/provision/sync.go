package provision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mangru/mangru/internal/dashboard/records"
)

// File is one board that a provisioner brings.
type File struct {
	// Name tells it from the provisioner's other boards; people see it.
	Name string
	Text []byte
	// Folder are titles from the top; empty for none. FolderUID is the uid of a
	// single folder that may have to be made.
	Folder    []string
	FolderUID string
}

// Set is everything that one provisioner brings.
type Set struct {
	By       string
	Files    []File
	Editable bool
	Keep     bool // leave boards whose file is gone
}

// Sync makes a workspace have a set's boards, and no others of its provisioner.
// Boards that cannot be saved are in the error, each with its name; the others
// are saved all the same, and what stood there before stays.
func Sync(ctx context.Context, store Store, ws string, set Set) error {
	s := &syncing{ctx: ctx, store: store, ws: ws, set: set, kept: map[string]string{}}
	folders, err := store.Folders(ctx, ws)
	if err != nil {
		return err
	}
	s.folders = folders
	var bad []error
	failed := map[string]bool{}
	for _, f := range set.Files {
		if err := s.board(f); err != nil {
			bad = append(bad, fmt.Errorf("board %s: %w", f.Name, err))
			failed[f.Name] = true
		}
	}
	if !set.Keep {
		bad = append(bad, s.remove(failed))
	}
	return errors.Join(bad...)
}

type syncing struct {
	ctx     context.Context
	store   Store
	ws      string
	set     Set
	folders []*records.Folder
	kept    map[string]string // name of the file by uid
}

func (s *syncing) board(f File) error {
	uid, text, err := prepared(s.set.By, f)
	if err != nil {
		return err
	}
	if other, taken := s.kept[uid]; taken {
		return fmt.Errorf("its uid %s is that of %s", uid, other)
	}
	folder, err := s.folder(f)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(f.Text)
	_, err = s.store.SaveBoard(s.ctx, s.ws, records.SaveInput{
		Board: text, FolderUID: folder, Overwrite: true, By: s.set.By, ProvisionedBy: s.set.By, Source: f.Name,
		Sum: hex.EncodeToString(sum[:]), Editable: s.set.Editable,
	})
	if errors.Is(err, records.ErrProvisioned) {
		return fmt.Errorf("its uid %s is that of a board which is provisioned from elsewhere", uid)
	}
	if err == nil {
		s.kept[uid] = f.Name
	}
	return err
}

// prepared takes the id of another installation out of a board's JSON and gives
// it a uid that stays, where it has none.
func prepared(by string, f File) (uid string, text json.RawMessage, err error) {
	var board map[string]json.RawMessage
	if err := json.Unmarshal(f.Text, &board); err != nil {
		return "", nil, fmt.Errorf("%w: %w", records.ErrBadBoard, err)
	}
	if inner, wrapped := board["dashboard"]; wrapped && board["title"] == nil {
		board = nil
		if err := json.Unmarshal(inner, &board); err != nil {
			return "", nil, fmt.Errorf("%w: field dashboard: %w", records.ErrBadBoard, err)
		}
	}
	if board == nil {
		return "", nil, fmt.Errorf("%w: found null", records.ErrBadBoard)
	}
	delete(board, "id")
	_ = json.Unmarshal(board["uid"], &uid) // one that is no text is none
	if uid == "" {
		sum := sha256.Sum256([]byte(by + "\x00" + f.Name))
		uid = "p" + hex.EncodeToString(sum[:10])
		board["uid"] = json.RawMessage(`"` + uid + `"`)
	}
	text, err = json.Marshal(board)
	return uid, text, err
}

// folder finds the folder of a file or makes it.
func (s *syncing) folder(f File) (string, error) {
	parent := ""
	for _, title := range f.Folder {
		uid, err := s.child(parent, title, f.FolderUID)
		if err != nil {
			return "", fmt.Errorf("folder %s: %w", title, err)
		}
		parent = uid
	}
	if parent == "" && f.FolderUID != "" {
		return s.child("", f.FolderUID, f.FolderUID)
	}
	return parent, nil
}

func (s *syncing) child(parent, title, uid string) (string, error) {
	for _, have := range s.folders {
		if (uid != "" && have.UID == uid) || (uid == "" && have.ParentUID == parent && have.Title == title) {
			return have.UID, nil
		}
	}
	made, err := s.store.CreateFolder(s.ctx, s.ws, records.FolderInput{UID: uid, ParentUID: parent, Title: title, By: s.set.By})
	if err != nil {
		return "", err
	}
	s.folders = append(s.folders, made)
	return made.UID, nil
}

// remove takes away boards of the provisioner that no file speaks for any more.
func (s *syncing) remove(failed map[string]bool) error {
	all, err := s.store.Boards(s.ctx, s.ws)
	if err != nil {
		return err
	}
	for _, b := range all {
		if b.ProvisionedBy != s.set.By || s.kept[b.UID] != "" || failed[b.Source] {
			continue
		}
		if err := s.store.DeleteBoard(s.ctx, s.ws, b.UID, s.set.By); err != nil {
			return fmt.Errorf("board %s: %w", b.Source, err)
		}
	}
	return nil
}

// Watch keeps a workspace's boards as the directory of a provider has them,
// until ctx is done.
func Watch(ctx context.Context, store Store, ws string, p Provider, log *slog.Logger) {
	log = log.With("provider", p.Name)
	said := ""
	tick := time.NewTicker(p.Every)
	defer tick.Stop()
	for {
		err := Once(ctx, store, ws, p)
		if ctx.Err() != nil {
			return
		}
		said = report(log, said, err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Once looks at the directory of a provider one time. A directory that cannot
// be read changes nothing.
func Once(ctx context.Context, store Store, ws string, p Provider) error {
	files, err := p.files()
	if err != nil {
		return err
	}
	return Sync(ctx, store, ws, Set{By: "file " + p.Name, Files: files, Editable: p.Editable, Keep: p.Keep})
}

// report logs what went wrong when it differs from last time.
func report(log *slog.Logger, said string, err error) string {
	now := ""
	if err != nil {
		now = err.Error()
	}
	if now != "" && now != said {
		log.Warn("boards could not be provisioned", "err", err)
	}
	if now == "" && said != "" {
		log.Info("boards are provisioned again")
	}
	return now
}
