// Package db opens the database of records (workspaces, identity, boards,
// sessions; never samples) and brings its tables up to date.
package db

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Open opens, or makes, the SQLite database in file and applies the migrations
// that are missing. Times are stored as integers: milliseconds since the epoch.
func Open(ctx context.Context, file string) (*bun.DB, error) {
	sqldb, err := connect(file)
	if err != nil {
		return nil, err
	}
	if _, err := migrate(ctx, sqldb); err != nil {
		_ = sqldb.Close()
		return nil, fmt.Errorf("database %s: %w", file, err)
	}
	return bun.NewDB(sqldb, sqlitedialect.New()), nil
}

// Upgrade brings the tables of an existing database up to date, as Open would,
// after it has written a copy of the database to the file backup, which must not
// exist; an up-to-date one is left alone. It returns the names of the migrations
// that it applied.
func Upgrade(ctx context.Context, file, backup string) ([]string, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("upgrade database: %w", err)
	}
	sqldb, err := connect(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sqldb.Close() }()
	p, err := provider(sqldb)
	if err != nil {
		return nil, err
	}
	if pending, err := p.HasPending(ctx); err != nil || !pending {
		return nil, err
	}
	if _, err := sqldb.ExecContext(ctx, "VACUUM INTO ?", backup); err != nil {
		return nil, fmt.Errorf("copy database %s to %s: %w", file, backup, err)
	}
	applied, err := migrate(ctx, sqldb)
	if err != nil {
		return nil, fmt.Errorf("database %s (a copy from before is in %s): %w", file, backup, err)
	}
	return applied, nil
}

func connect(file string) (*sql.DB, error) {
	// SQLite would make it readable by all, and its other files like it.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	q := url.Values{"_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}, "_txlock": {"immediate"}}
	sqldb, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", file, err)
	}
	// SQLite has one writer; a few readers beside it are enough.
	sqldb.SetMaxOpenConns(4)
	return sqldb, nil
}

func provider(sqldb *sql.DB) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, sqldb, dir)
}

func migrate(ctx context.Context, sqldb *sql.DB) ([]string, error) {
	p, err := provider(sqldb)
	if err != nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	var applied []string
	for _, r := range results {
		applied = append(applied, filepath.Base(r.Source.Path))
	}
	return applied, nil
}
