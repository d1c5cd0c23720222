package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/telemetry"
)

func newServerCmd() *cobra.Command {
	var file string
	flags := DefaultServerConfig()
	c := &cobra.Command{
		Use:   "server",
		Short: "Serve workspaces: ingest, store, query and dashboards",
		Long: "Serves Managed Prometheus' control plane and data plane, signed with AWS Signature\n" +
			"Version 4, over workspaces kept in the data directory. The first start makes an\n" +
			"administrator and writes the access key to DIR/credentials. Dashboards, sign-in and\n" +
			"administration are on the address --ui.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := DefaultServerConfig()
			if file != "" {
				var err error
				if cfg, err = LoadServerConfig(file); err != nil {
					return &ExitError{Code: exitUsage, Err: err}
				}
			}
			overlayFlags(cmd, &cfg, flags)
			logger, err := telemetry.NewLogger(cmd.ErrOrStderr(), cfg.Log.Format, cfg.Log.Level)
			if err != nil {
				return &ExitError{Code: exitUsage, Err: err}
			}
			return runServer(cmd.Context(), cfg, logger)
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "configuration file (YAML)")
	f.StringVar(&flags.Listen, "listen", flags.Listen, "address of the AWS-shaped APIs")
	f.StringVar(&flags.UI.Listen, "ui", flags.UI.Listen, "address of the pages for people; empty for none")
	f.StringVar(&flags.UI.URL, "ui-url", "", "URL of the pages as browsers reach them (default http:// and --ui)")
	f.StringVar(&flags.Data, "data", flags.Data, "directory for everything that is kept")
	f.StringVar(&flags.Region, "region", flags.Region, "AWS region that the APIs answer for")
	f.StringVar(&flags.Domain, "domain", "", "suffix of virtual hosts such as aps-workspaces.<region>.<domain>")
	f.StringVar(&flags.PublicURL, "public-url", "", "how callers reach the server, if not as requests arrive")
	f.StringVar(&flags.Log.Level, "log-level", flags.Log.Level, "debug, info, warn or error")
	f.StringVar(&flags.Log.Format, "log-format", flags.Log.Format, "text or json")
	c.AddCommand(newRotateKeyCmd(), newUpgradeCmd())
	return c
}

func mustExist(file string) error {
	if _, err := os.Stat(file); err != nil {
		return &ExitError{Code: exitUsage, Err: fmt.Errorf("no database there (--data, --config): %w", err)}
	}
	return nil
}

// runServer owns the data directory for as long as it runs.
func runServer(ctx context.Context, cfg ServerConfig, logger *slog.Logger) (err error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	unlock, err := lockDir(cfg.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	useKubeLog(logger) // of scrapers' discovery
	s, err := NewServer(ctx, cfg, ServerDeps{Logger: logger})
	if err != nil {
		return err
	}
	if err := keepFirstKey(s, cfg.Data); err != nil {
		return errors.Join(err, s.Close())
	}
	stages := []stage{{"server", s.Run}}
	if cfg.UI.Listen != "" {
		d, err := s.OpenUI(ctx, UIOptions{})
		if err != nil {
			return errors.Join(err, s.Close())
		}
		stages = append([]stage{{"dashboards", d.Run}}, stages...)
		logger.Info("pages for people", "url", d.URL(), "first sign-in", "mangru login-link --data "+cfg.Data)
	}
	logger.Info("server listens", "url", s.URL(), "region", cfg.Region, "data", cfg.Data)
	return errors.Join(runStages(ctx, stages), s.Close())
}

// overlayFlags lets flags that were given win over the file.
func overlayFlags(cmd *cobra.Command, cfg *ServerConfig, flags ServerConfig) {
	for name, set := range map[string]func(){
		"listen":     func() { cfg.Listen = flags.Listen },
		"data":       func() { cfg.Data = flags.Data },
		"ui":         func() { cfg.UI.Listen = flags.UI.Listen },
		"ui-url":     func() { cfg.UI.URL = flags.UI.URL },
		"region":     func() { cfg.Region = flags.Region },
		"domain":     func() { cfg.Domain = flags.Domain },
		"public-url": func() { cfg.PublicURL = flags.PublicURL },
		"log-level":  func() { cfg.Log.Level = flags.Log.Level },
		"log-format": func() { cfg.Log.Format = flags.Log.Format },
	} {
		if cmd.Flags().Changed(name) {
			set()
		}
	}
}

// keepFirstKey writes the administrator's key to the credentials file when this
// start made it, and says so when it was made before and the file is gone.
func keepFirstKey(s *Server, data string) error {
	file := filepath.Join(data, "credentials")
	if key, ok := s.FirstKey(); ok {
		if err := writeCredentials(file, credentials{AccessKey: key.ID, SecretKey: key.Secret}); err != nil {
			return fmt.Errorf("keep the administrator's access key: %w", err)
		}
		s.logger.Info("administrator made", "user", key.Principal.Name, "credentials", file)
		return nil
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		s.logger.Warn("the administrator's credentials file is gone; the key itself cannot be shown again", "file", file)
	}
	return nil
}
