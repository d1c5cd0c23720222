// Package provision keeps boards and data sources of dashboard workspaces as
// files, objects of a cluster or the program itself say.
package provision

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"

	"github.com/mangru/mangru/internal/dashboard/records"
)

//go:embed boards/*.json
var bundled embed.FS

// Bundled returns the boards that come with the program.
func Bundled() fs.FS {
	sub, err := fs.Sub(bundled, "boards")
	if err != nil {
		panic("BUG: " + err.Error()) // the folder is part of the program
	}
	return sub
}

// bundledBy is who keeps the bundled boards up to date.
const bundledBy = "mangru"

// Store is what provisioning writes to.
type Store interface {
	SaveBoard(ctx context.Context, ws string, in records.SaveInput) (*records.Board, error)
	Boards(ctx context.Context, ws string) ([]*records.Board, error)
	DeleteBoard(ctx context.Context, ws, uid, provisioner string) error
	Folders(ctx context.Context, ws string) ([]*records.Folder, error)
	CreateFolder(ctx context.Context, ws string, in records.FolderInput) (*records.Folder, error)
	DataSources(ctx context.Context, ws string) ([]*records.DataSource, error)
	CreateDataSource(ctx context.Context, d *records.DataSource, secrets map[string]string) error
	UpdateDataSource(ctx context.Context, d *records.DataSource, secrets map[string]string, version int64, provisioner string) error
	DeleteDataSource(ctx context.Context, ws, uid, provisioner string) error
}

// Boards brings the boards of a set of files into a workspace; boards that came
// from there before and are gone now are removed.
func Boards(ctx context.Context, store Store, ws string, files fs.FS) error {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return fmt.Errorf("list boards: %w", err)
	}
	kept := map[string]bool{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("read board: %w", err)
		}
		b, err := store.SaveBoard(ctx, ws, records.SaveInput{
			Board: json.RawMessage(text), Overwrite: true, By: bundledBy, ProvisionedBy: bundledBy, Source: name,
		})
		if err != nil {
			return fmt.Errorf("board %s: %w", name, err)
		}
		kept[b.UID] = true
	}
	all, err := store.Boards(ctx, ws)
	if err != nil {
		return err
	}
	for _, b := range all {
		if b.ProvisionedBy == bundledBy && !kept[b.UID] {
			if err := store.DeleteBoard(ctx, ws, b.UID, bundledBy); err != nil {
				return err
			}
		}
	}
	return nil
}

// Source brings one data source into a workspace, as the program itself has it.
func Source(ctx context.Context, store Store, d *records.DataSource, secrets map[string]string) error {
	return putSource(ctx, store, d, secrets, bundledBy)
}

// putSource makes a data source or brings the one with its uid up to date.
func putSource(ctx context.Context, store Store, d *records.DataSource, secrets map[string]string, by string) error {
	d.ProvisionedBy = by
	list, err := store.DataSources(ctx, d.WorkspaceID)
	if err != nil {
		return err
	}
	for _, old := range list {
		if (d.UID != "" && old.UID == d.UID) || (d.UID == "" && old.Name == d.Name) {
			d.ID, d.UID = old.ID, old.UID
			return store.UpdateDataSource(ctx, d, secrets, 0, old.ProvisionedBy)
		}
	}
	return store.CreateDataSource(ctx, d, secrets)
}
