// Package app wires the parts together, one file for each mode of the program.
// It is the only package that knows everyone.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// Exit codes, a contract with whoever starts the program.
const (
	exitStopped = 0 // asked to stop, or done
	exitFailed  = 1 // failed while running
	exitUsage   = 2 // bad usage or configuration
)

// Main runs the program with arguments (without its own name) and returns the
// exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// The first signal asks to stop; the second ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRootCmd()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitStopped
	}
	fmt.Fprintln(stderr, "mangru: "+err.Error())
	var exit *ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return exitFailed
}

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "mangru",
		Short: "From a Kubernetes cluster to a dashboard",
		Long: "Mangru collects metrics without a volume, ships them signed, stores and queries them\n" +
			"per workspace, and shows them to people who signed in.\n\nStart with: mangru up",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &ExitError{Code: exitUsage, Err: fmt.Errorf("unknown command %q; mangru --help lists those there are", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return &ExitError{Code: exitUsage, Err: errors.New("no command given")}
		},
	}
	root.SetVersionTemplate(versionText())
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &ExitError{Code: exitUsage, Err: err} })
	root.AddCommand(
		newUpCmd(), newCollectorCmd(), newServerCmd(), newNodeExporterCmd(), newKubeStateMetricsCmd(),
		newCheckConfigCmd(), newLoginLinkCmd(), newInstallCmd(), newUninstallCmd(), newOperatorCmd(), newDoctorCmd(),
		newUserCmd(), newGroupCmd(), newKeyCmd(), newRoleCmd(), newPolicyCmd(), newOIDCProviderCmd(), newPersonCmd(),
		newWorkspaceCmd(), newDashboardWorkspaceCmd(), newRulesCmd(),
		newQueryCmd(), newCardinalityCmd(),
		newClusterCmd(), newAddonCmd(), newIRSACmd(), newPodIdentityCmd(), newPodIdentityAgentCmd(),
	)
	for _, c := range root.Commands() {
		usageArgs(c)
	}
	return root
}

// usageArgs makes a wrong number of arguments a usage error, like a wrong flag,
// of a command and those below it. Commands that say nothing about arguments take none.
func usageArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = noArgs
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &ExitError{Code: exitUsage, Err: err}
		}
		return nil
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, found %q", cmd.CommandPath(), args[0])
	}
	return nil
}

func versionText() string {
	commit := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = " (" + s.Value + ")"
			}
		}
	}
	return fmt.Sprintf("mangru %s%s %s %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
