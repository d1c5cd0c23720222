package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/db"
)

// maintained are the flags of commands that work on a data directory.
type maintained struct{ file, data string }

func (m *maintained) register(c *cobra.Command) {
	c.Flags().StringVar(&m.file, "config", "", "the server's configuration file (YAML)")
	c.Flags().StringVar(&m.data, "data", "", "the server's data directory (default: the configuration's)")
}

func (m *maintained) config() (ServerConfig, error) {
	cfg := DefaultServerConfig()
	if m.file != "" {
		var err error
		if cfg, err = LoadServerConfig(m.file); err != nil {
			return cfg, &ExitError{Code: exitUsage, Err: err}
		}
	}
	if m.data != "" {
		cfg.Data = m.data
	}
	return cfg, nil
}

func newRotateKeyCmd() *cobra.Command {
	var m maintained
	c := &cobra.Command{
		Use:   "rotate-key",
		Short: "Encrypt the secrets in the database with a new key",
		Long: "Makes a new secret key (or takes the first one that secrets.key_command prints), encrypts\n" +
			"everything in the database with it, and signs new sessions with a new key. Sessions that\n" +
			"are live go on. The server may be running; it notices within seconds.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := m.config()
			if err != nil {
				return err
			}
			if err := rotateKey(cmd.Context(), cfg); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "Secrets are encrypted with a new key.")
			return nil
		},
	}
	m.register(c)
	return c
}

func rotateKey(ctx context.Context, cfg ServerConfig) (err error) {
	file := filepath.Join(cfg.Data, "mangru.db")
	if err := mustExist(file); err != nil {
		return err
	}
	records, err := db.Open(ctx, file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	identity, err := iam.Open(ctx, records, iam.Config{KeyFile: filepath.Join(cfg.Data, "secret.key"), KeyCommand: cfg.Secrets.KeyCommand})
	if err != nil {
		return err
	}
	return identity.Rotate(ctx)
}

func newUpgradeCmd() *cobra.Command {
	var m maintained
	c := &cobra.Command{
		Use:   "upgrade",
		Short: "Bring the database up to date, after a copy of it was made",
		Long: "Applies the changes of tables that this version of the program needs. The server does\n" +
			"so at its start too; this command makes a copy of the database first, and says what it\n" +
			"did. The server must not be running.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := m.config()
			if err != nil {
				return err
			}
			file := filepath.Join(cfg.Data, "mangru.db")
			if err := mustExist(file); err != nil {
				return err
			}
			unlock, err := lockDir(cfg.Data)
			if err != nil {
				return err
			}
			backup := filepath.Join(cfg.Data, "mangru.db.before-"+time.Now().UTC().Format("20060102T150405Z"))
			applied, err := db.Upgrade(cmd.Context(), file, backup)
			if err = errors.Join(err, unlock()); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if len(applied) == 0 {
				fmt.Fprintln(out, "The database is up to date.")
				return nil
			}
			for _, name := range applied {
				fmt.Fprintln(out, "applied", name)
			}
			fmt.Fprintln(out, "The database as it was before is in", backup)
			return nil
		},
	}
	m.register(c)
	return c
}
