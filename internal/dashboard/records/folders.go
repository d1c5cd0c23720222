package records

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
)

// MaxFolderDepth is how many folders may stand inside one another.
const MaxFolderDepth = 8

// Folder holds boards and folders.
type Folder struct {
	bun.BaseModel `bun:"table:dash_folders"`

	WorkspaceID   string `bun:",pk"`
	UID           string `bun:"uid,pk"`
	ID            int64
	ParentUID     string `bun:"parent_uid"` // empty at the top
	Title         string
	Description   string
	Version       int64
	ProvisionedBy string
	CreatedAt     int64
	UpdatedAt     int64
	CreatedBy     string
	UpdatedBy     string
}

// URL is the path under which the UI shows the folder.
func (f *Folder) URL() string { return "/dashboards/f/" + f.UID + "/" + Slug(f.Title) }

// FolderInput is a folder to be made or changed.
type FolderInput struct {
	UID, ParentUID, Title, Description string
	By                                 string // login
	// Version is the one that the author has seen; Overwrite makes it not matter.
	Version   int64
	Overwrite bool
	// Creator gets the right to administer a new folder; 0 for none.
	Creator       int64
	ProvisionedBy string
}

func (in *FolderInput) check() error {
	in.Title = strings.TrimSpace(in.Title)
	if in.Title == "" {
		return ErrFolderTitleEmpty
	}
	if len([]rune(in.Title)) > 255 {
		return fmt.Errorf("%w: folder title cannot contain more than 255 characters", ErrBadFolder)
	}
	return checkUID(in.UID)
}

// ErrBadFolder says that a folder can't be made as asked.
var ErrBadFolder = errors.New("bad folder")

func getFolder(ctx context.Context, db bun.IDB, ws, uid string) (*Folder, error) {
	var f Folder
	err := notFound(db.NewSelect().Model(&f).Where("workspace_id = ? AND uid = ?", ws, uid).Scan(ctx))
	if errors.Is(err, ErrNotFound) {
		return nil, ErrFolderNotFound
	}
	return &f, err
}

// Folder returns the folder with a uid.
func (s *Store) Folder(ctx context.Context, ws, uid string) (*Folder, error) {
	return getFolder(ctx, s.db, ws, uid)
}

// Folders lists all folders by title.
func (s *Store) Folders(ctx context.Context, ws string) ([]*Folder, error) {
	var list []*Folder
	err := s.db.NewSelect().Model(&list).Where("workspace_id = ?", ws).Order("title", "id").Scan(ctx)
	return list, err
}

// CreateFolder makes a folder.
func (s *Store) CreateFolder(ctx context.Context, ws string, in FolderInput) (*Folder, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	now := s.millis()
	f := &Folder{
		WorkspaceID: ws, UID: in.UID, ParentUID: in.ParentUID, Title: in.Title, Description: in.Description, Version: 1,
		ProvisionedBy: in.ProvisionedBy, CreatedAt: now, UpdatedAt: now, CreatedBy: in.By, UpdatedBy: in.By,
	}
	if f.UID == "" {
		f.UID = NewUID()
	}
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := getFolder(ctx, tx, ws, f.UID); err == nil {
			return ErrFolderUIDTaken
		} else if !errors.Is(err, ErrFolderNotFound) {
			return err
		}
		if f.UID == GeneralFolder || f.UID == "sharedwithme" {
			return fmt.Errorf("%w: %s is reserved", ErrInvalidUID, f.UID)
		}
		if err := checkDepth(ctx, tx, ws, f.ParentUID, 1); err != nil {
			return err
		}
		var err error
		if f.ID, err = number(ctx, tx, ws, "folder"); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(f).Exec(ctx); err != nil {
			return fmt.Errorf("insert folder: %w", err)
		}
		return s.defaultPermissions(ctx, tx, ws, kindFolder, f.UID, f.ParentUID == "", in.Creator)
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// GeneralFolder is Grafana's name for "no folder".
const GeneralFolder = "general"

// checkDepth walks up from parent and refuses a tree of height put below it when it gets too deep.
func checkDepth(ctx context.Context, tx bun.IDB, ws, parent string, height int) error {
	depth := height
	for uid := parent; uid != ""; depth++ {
		f, err := getFolder(ctx, tx, ws, uid)
		if err != nil {
			return err
		}
		if depth >= MaxFolderDepth {
			return ErrFolderTooDeep
		}
		uid = f.ParentUID
	}
	return nil
}

// UpdateFolder changes a folder's title and description.
func (s *Store) UpdateFolder(ctx context.Context, ws string, in FolderInput) (*Folder, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return s.changeFolder(ctx, ws, in.UID, in.By, func(_ bun.Tx, f *Folder) error {
		if !in.Overwrite && in.Version != f.Version {
			return ErrFolderVersion
		}
		f.Title, f.Description = in.Title, in.Description
		return nil
	})
}

// MoveFolder puts a folder under another one, or at the top for an empty uid.
func (s *Store) MoveFolder(ctx context.Context, ws, uid, parent, by string) (*Folder, error) {
	return s.changeFolder(ctx, ws, uid, by, func(tx bun.Tx, f *Folder) error {
		for at := parent; at != ""; {
			if at == uid {
				return ErrFolderCircular
			}
			up, err := getFolder(ctx, tx, ws, at)
			if err != nil {
				return err
			}
			at = up.ParentUID
		}
		_, height, err := subtree(ctx, tx, ws, uid)
		if err != nil {
			return err
		}
		if err := checkDepth(ctx, tx, ws, parent, height); err != nil {
			return err
		}
		f.ParentUID = parent
		if parent == "" {
			return s.defaultPermissions(ctx, tx, ws, kindFolder, uid, true, 0)
		}
		return nil
	})
}

func (s *Store) changeFolder(ctx context.Context, ws, uid, by string, change func(bun.Tx, *Folder) error) (*Folder, error) {
	var f *Folder
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
		if f, err = getFolder(ctx, tx, ws, uid); err != nil {
			return err
		}
		if err := change(tx, f); err != nil {
			return err
		}
		f.Version++
		f.UpdatedAt, f.UpdatedBy = s.millis(), by
		_, err = tx.NewUpdate().Model(f).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// subtree lists a folder and everything below it, and how many levels that is.
func subtree(ctx context.Context, db bun.IDB, ws, uid string) (uids []string, height int, err error) {
	for level := []string{uid}; len(level) > 0; height++ {
		uids = append(uids, level...)
		var next []string
		err := db.NewSelect().Model((*Folder)(nil)).Column("uid").
			Where("workspace_id = ? AND parent_uid IN (?)", ws, bun.In(level)).Scan(ctx, &next)
		if err != nil {
			return nil, 0, err
		}
		level = next
	}
	return uids, height, nil
}

// Counts says what is below a folder.
type Counts struct{ Folders, Boards, LibraryElements int }

// FolderCounts counts what is anywhere below a folder.
func (s *Store) FolderCounts(ctx context.Context, ws, uid string) (Counts, error) {
	var c Counts
	uids, _, err := subtree(ctx, s.db, ws, uid)
	if err != nil {
		return c, err
	}
	c.Folders = len(uids) - 1
	c.Boards, err = s.db.NewSelect().Model((*Board)(nil)).Where("workspace_id = ? AND folder_uid IN (?)", ws, bun.In(uids)).Count(ctx)
	if err != nil {
		return c, err
	}
	c.LibraryElements, err = s.db.NewSelect().Model((*Document)(nil)).
		Where("workspace_id = ? AND kind = ? AND owner IN (?)", ws, KindLibraryElement, bun.In(uids)).Count(ctx)
	return c, err
}

// DeleteFolder removes a folder with everything in it. Boards that a
// provisioner keeps are in the way.
func (s *Store) DeleteFolder(ctx context.Context, ws, uid string) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := getFolder(ctx, tx, ws, uid); err != nil {
			return err
		}
		uids, _, err := subtree(ctx, tx, ws, uid)
		if err != nil {
			return err
		}
		var boards []*Board
		err = tx.NewSelect().Model(&boards).ExcludeColumn("data").Where("workspace_id = ? AND folder_uid IN (?)", ws, bun.In(uids)).Scan(ctx)
		if err != nil {
			return err
		}
		for _, b := range boards {
			if b.ProvisionedBy != "" {
				return ErrDeleteProvision
			}
			if err := deleteBoard(ctx, tx, ws, b.UID); err != nil {
				return err
			}
		}
		for _, f := range uids {
			if err := dropPermissions(ctx, tx, ws, kindFolder, f); err != nil {
				return err
			}
		}
		_, err = tx.NewDelete().Model((*Document)(nil)).Where("workspace_id = ? AND kind = ? AND owner IN (?)", ws, KindLibraryElement, bun.In(uids)).Exec(ctx)
		if err != nil {
			return err
		}
		_, err = tx.NewDelete().Model((*Folder)(nil)).Where("workspace_id = ? AND uid IN (?)", ws, bun.In(uids)).Exec(ctx)
		return err
	})
}
