package app

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/exporter/node"
)

// newNodeExporterCmd returns the mode that is the Prometheus node exporter. It
// takes that program's flags as they are.
func newNodeExporterCmd() *cobra.Command {
	return &cobra.Command{
		Use:                "node-exporter [flags of the node exporter]",
		Short:              "Serve the metrics of this machine, as the Prometheus node exporter does",
		Args:               cobra.ArbitraryArgs,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := node.Run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
			var usage *node.UsageError
			switch {
			case errors.Is(err, node.ErrHelp):
				return nil
			case errors.As(err, &usage):
				return &ExitError{Code: exitUsage, Err: err}
			}
			return err
		},
	}
}
