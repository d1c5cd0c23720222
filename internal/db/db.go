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
	if err := migrate(ctx, sqldb); err != nil {
		_ = sqldb.Close()
		return nil, fmt.Errorf("database %s: %w", file, err)
	}
	return bun.NewDB(sqldb, sqlitedialect.New()), nil
}

func migrate(ctx context.Context, sqldb *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, sqldb, dir)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
