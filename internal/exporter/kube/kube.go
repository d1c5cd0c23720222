// Package kube serves metrics about the objects of a Kubernetes cluster: it is
// kube-state-metrics, compiled in, with that program's flags.
package kube

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/kube-state-metrics/v2/pkg/app"
	"k8s.io/kube-state-metrics/v2/pkg/options"
)

// UsageError says that the arguments were wrong.
type UsageError struct{ Err error }

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// ErrHelp is returned when the arguments asked for help, which was written.
var ErrHelp = errors.New("help was asked for")

// parse reads the flags of kube-state-metrics, which hang on a command.
func parse(args []string, usage io.Writer) (*options.Options, error) {
	opts := options.NewOptions()
	ran := false
	cmd := &cobra.Command{
		Use:           "kube-state-metrics",
		Short:         "Serve metrics about the objects of a Kubernetes cluster, with the flags of kube-state-metrics",
		Args:          cobra.NoArgs,
		Run:           func(*cobra.Command, []string) { ran = true },
		SilenceErrors: true, SilenceUsage: true,
	}
	opts.AddFlags(cmd)
	cmd.ResetCommands() // completion and version, which end the process
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetOut(usage)
	cmd.SetErr(usage)
	cmd.SetArgs(append([]string{}, args...))
	if err := opts.Parse(); err != nil {
		return nil, &UsageError{err}
	}
	if !ran {
		return nil, ErrHelp
	}
	if err := opts.Validate(); err != nil {
		return nil, &UsageError{err}
	}
	return opts, nil
}

// Watch calls changed when one of the files is written, until ctx ends.
type Watch func(ctx context.Context, files []string, changed func())

// Run is kube-state-metrics: it serves on port 8080, and its own metrics on
// 8081, or where the arguments say, until ctx ends. When a configuration file
// changes it starts again with it, as upstream does.
func Run(ctx context.Context, args []string, usage io.Writer, watch Watch) error {
	for ctx.Err() == nil {
		opts, err := parse(args, usage)
		if err != nil {
			return err
		}
		if err := once(ctx, opts, watch); err != nil && ctx.Err() == nil {
			return fmt.Errorf("kube-state-metrics: %w", err)
		}
	}
	return nil
}

func once(ctx context.Context, opts *options.Options, watch Watch) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	var files []string
	for _, f := range []string{opts.Config, opts.CustomResourceConfigFile, opts.Kubeconfig} {
		if f != "" {
			files = append(files, f)
		}
	}
	if len(files) > 0 {
		go watch(running, files, stop)
	}
	err := app.RunKubeStateMetrics(running, opts)
	if running.Err() != nil {
		return nil
	}
	return err
}
