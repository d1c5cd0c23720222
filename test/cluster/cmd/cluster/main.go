//go:build unix

// Command cluster runs a real Kubernetes cluster on this machine; see
// test/cluster/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/mangru/mangru/test/cluster"
)

const usage = `usage: cluster COMMAND
  up [--nodes N] [--fake-nodes M] [--fake-pods-per-node K] [--no-addons]
                                   make sure that such a cluster runs; the last line
                                   printed is the path of its kubeconfig
  down                             stop it and remove all that 'up' made
  status                           what runs; exit status 1 if anything does not
  kubeconfig                       print the path of the kubeconfig
  kubectl ARGS...                  kubectl as the cluster's administrator
  addons                           kube-state-metrics, node-exporter and the shop, after 'up --no-addons'
  image TAG BINARY [FILE[:PATH]...]
                                   make an image of local files and load it into every node
  load ARCHIVE                     load the images of an archive (docker save, OCI) into every node
  node NAME COMMAND...             run a command on a node, e.g. node node-1 ps ax
  exec-control COMMAND...          run a command in the control plane's network, where pods can call it
  packages                         print the distribution's packages that are needed

environment: MANGRU_CLUSTER_DIR, MANGRU_CLUSTER_CACHE, MANGRU_CLUSTER_NAME, MANGRU_CLUSTER_NET
`

// Exit codes: what was asked for failed; it can never work like this.
const exitFailed, exitUsage = 1, 2

func main() { os.Exit(mainCode()) }

func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return exitCode(run(ctx, os.Args[1:], os.Stdout), os.Stderr)
}

// exitCode reports an error and chooses the exit code for it.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "cluster:", err)
	var bad *cluster.UsageError
	var unsupported *cluster.UnsupportedError
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprint(stderr, usage)
		return exitUsage
	case errors.As(err, &bad), errors.As(err, &unsupported):
		return exitUsage
	}
	return exitFailed
}

var errUsage = errors.New("bad arguments")

// logger prints progress for people: no time, no level.
func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}}))
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	opts := cluster.Options{Log: logger()}
	command, args := args[0], args[1:]
	switch command {
	case "-h", "--help", "help":
		_, err := io.WriteString(out, usage)
		return err
	case "up":
		return up(ctx, opts, args, out)
	case "down":
		if len(args) > 0 {
			return errUsage
		}
		return cluster.Down(ctx, opts)
	case "packages":
		_, err := fmt.Fprintln(out, strings.Join(cluster.Packages(), " "))
		return err
	case "status", "kubeconfig", "kubectl", "addons", "image", "load", "node", "exec-control":
		c, err := cluster.Open(opts)
		if cluster.IsDown(err) {
			return fmt.Errorf("%w; start one with: cluster up", err)
		}
		if err != nil {
			return err
		}
		return use(ctx, c, command, args, out)
	}
	return errUsage
}

func up(ctx context.Context, opts cluster.Options, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&opts.Nodes, "nodes", 1, "")
	flags.IntVar(&opts.FakeNodes, "fake-nodes", 0, "")
	flags.IntVar(&opts.FakePodsPerNode, "fake-pods-per-node", 10, "")
	flags.BoolVar(&opts.NoAddons, "no-addons", false, "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("up: %w: %w", err, errUsage)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("up: unexpected %q: %w", flags.Arg(0), errUsage)
	}
	if opts.Nodes == 0 { // which to the package means the default
		return fmt.Errorf("up: --nodes: found 0, allowed are 1 to %d: %w", cluster.MaxNodes, errUsage)
	}
	c, err := cluster.Up(ctx, opts)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, c.Kubeconfig())
	return err
}

// use is for the commands that need a running cluster.
func use(ctx context.Context, c *cluster.Cluster, command string, args []string, out io.Writer) error {
	switch {
	case command == "status" && len(args) == 0:
		return status(ctx, c, out)
	case command == "kubeconfig" && len(args) == 0:
		_, err := fmt.Fprintln(out, c.Kubeconfig())
		return err
	case command == "kubectl":
		return attach(c.KubectlCommand(ctx, args...))
	case command == "addons" && len(args) == 0:
		return c.InstallAddons(ctx)
	case command == "image" && len(args) >= 2:
		return c.LoadImage(ctx, cluster.Image{Tag: args[0], Binary: args[1], Files: args[2:]})
	case command == "load" && len(args) == 1:
		return c.LoadArchive(ctx, args[0])
	case command == "node" && len(args) >= 2:
		cmd, err := c.NodeCommand(ctx, args[0], args[1], args[2:]...)
		if err != nil {
			return err
		}
		return attach(cmd)
	case command == "exec-control" && len(args) >= 1:
		return attach(c.ControlCommand(ctx, args[0], args[1:]...))
	}
	return errUsage
}

// attach turns this process into the command, so that signals and the exit
// status are the command's own.
func attach(cmd *exec.Cmd) error {
	if cmd.Err != nil {
		return cmd.Err
	}
	if err := syscall.Exec(cmd.Path, cmd.Args, os.Environ()); err != nil {
		return fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	return nil
}

func status(ctx context.Context, c *cluster.Cluster, out io.Writer) error {
	s := c.Status()
	for _, p := range s.Running {
		fmt.Fprintln(out, "running  ", p)
	}
	for _, name := range s.Dead {
		fmt.Fprintf(out, "ENDED     %s (see %s/%s.log)\n", name, s.LogDir, name)
	}
	nodes, err := c.Kubectl(ctx, "get", "nodes", "-o", "wide", "-l", "!type")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s", nodes)
	if o := c.Options(); o.FakeNodes > 0 {
		fmt.Fprintf(out, "and %d simulated nodes with %d pods each\n", o.FakeNodes, o.FakePodsPerNode)
	}
	pods, err := c.Kubectl(ctx, "get", "pods", "-A", "--field-selector=status.phase!=Running", "--no-headers")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "pods that do not run: %d\n%s", strings.Count(string(pods), "\n"), pods)
	if len(s.Dead) > 0 {
		return fmt.Errorf("%d processes have ended; start afresh with: cluster up", len(s.Dead))
	}
	return nil
}
