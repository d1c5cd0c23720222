package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/exporter/kube"
)

// newKubeStateMetricsCmd returns the mode that is kube-state-metrics. It takes
// that program's flags as they are.
func newKubeStateMetricsCmd() *cobra.Command {
	return &cobra.Command{
		Use:                "kube-state-metrics [flags of kube-state-metrics]",
		Short:              "Serve metrics about the objects of a Kubernetes cluster, as kube-state-metrics does",
		Args:               cobra.ArbitraryArgs,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			watch := func(ctx context.Context, files []string, changed func()) {
				nothing := func() *filesSum { return nil } // only this reads them
				watchFiles(ctx, func() ([]string, []string) { return files, nil }, nothing, changed)
			}
			go keepSmall(cmd.Context(), slog.New(slog.DiscardHandler))
			err := kube.Run(cmd.Context(), args, cmd.OutOrStdout(), watch)
			var usage *kube.UsageError
			switch {
			case errors.Is(err, kube.ErrHelp):
				return nil
			case errors.As(err, &usage):
				return &ExitError{Code: exitUsage, Err: err}
			}
			return err
		},
	}
}
