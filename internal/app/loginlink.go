package app

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/dashboard"
	"github.com/mangru/mangru/internal/db"
)

func newLoginLinkCmd() *cobra.Command {
	var data, ui string
	c := &cobra.Command{
		Use:   "login-link",
		Short: "Print a link that signs the administrator in once",
		Long: "Makes a one-time link in the data directory of a running or stopped `mangru up`. Whoever can\n" +
			"write to that directory may do everything there anyway.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			file := filepath.Join(data, "mangru.db")
			if _, err := os.Stat(file); err != nil {
				return &ExitError{Code: exitUsage, Err: fmt.Errorf("--data: no installation there: %w", err)}
			}
			records, err := db.Open(cmd.Context(), file)
			if err != nil {
				return err
			}
			defer func() { _ = records.Close() }() // what was written is committed
			people := dashboard.NewPeople(records, nil)
			admin, err := people.EnsureAdministrator(cmd.Context())
			if err != nil {
				return err
			}
			token, err := people.NewLoginLink(cmd.Context(), admin.ID)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "http://%s/login#token=%s\n", ui, token)
			return err
		},
	}
	c.Flags().StringVar(&data, "data", "./mangru-data", "data directory of the installation")
	c.Flags().StringVar(&ui, "ui", "127.0.0.1:3000", "address of the dashboards, for the link")
	return c
}
