package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/mangru/mangru/deploy"
	"github.com/mangru/mangru/internal/install"
)

// releaseFlags name a release and its cluster.
type releaseFlags struct {
	kube      kubeFlags
	release   string
	namespace string
}

func (f *releaseFlags) register(c *cobra.Command) {
	f.kube.register(c)
	c.Flags().StringVar(&f.release, "release", "mangru", "name of the release: first part of its objects' names")
	c.Flags().StringVarP(&f.namespace, "namespace", "n", "mangru", "namespace of the release")
}

// cluster returns the cluster, with progress going to the command's errors.
func (f *releaseFlags) cluster(cmd *cobra.Command) (*install.Cluster, *rest.Config, error) {
	config, err := f.kube.config()
	if err != nil {
		return nil, nil, err
	}
	c, err := install.NewCluster(config)
	if err != nil {
		return nil, nil, err
	}
	began := time.Now()
	c.Progress = func(format string, args ...any) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%6.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	return c, config, nil
}

func newInstallCmd() *cobra.Command {
	f := &releaseFlags{}
	var preset, image string
	var files, set, setString []string
	var dryRun, offline, noWait bool
	var timeout time.Duration
	chart := deploy.Chart()
	c := &cobra.Command{
		Use:   "install",
		Short: "Put Mangru into a cluster, or bring what is there up to date",
		Long: "Renders the Helm chart that is compiled in, applies it, and waits until everything is ready. A second run changes\n" +
			"what differs and removes what is no longer wanted. Presets: " + strings.Join(install.Presets(chart), ", ") + ".",
		Example: "  mangru install --preset all-in-one --image registry.example/mangru:v1\n" +
			"  mangru install --preset collector-only --set collector.remoteWrite.url=https://…/api/v1/remote_write",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := install.Request{Release: f.release, Namespace: f.namespace, Preset: preset, Version: version}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					return &ExitError{Code: exitUsage, Err: fmt.Errorf("--values: %w", err)}
				}
				req.Values = append(req.Values, install.Values{Name: file, Text: text})
			}
			if image != "" {
				set = append(imageValues(image), set...)
			}
			req.Set, req.SetString = set, setString
			if offline {
				rendered, err := install.Render(chart, req, nil)
				if err != nil {
					return asUsage(err)
				}
				return printYAML(cmd, rendered)
			}
			cluster, config, err := f.cluster(cmd)
			if err != nil {
				return err
			}
			rendered, err := install.Render(chart, req, config)
			if err != nil {
				return asUsage(err)
			}
			if dryRun {
				return printYAML(cmd, rendered)
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("gave up after %s (--timeout)", timeout))
			defer cancel()
			if err := cluster.Install(ctx, f.namespace, f.release, rendered); err != nil {
				return asUsage(err)
			}
			if !noWait {
				if err := cluster.Wait(ctx, rendered); err != nil {
					return err
				}
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), "\n"+rendered.Notes)
			return err
		},
	}
	f.register(c)
	fl := c.Flags()
	fl.StringVar(&preset, "preset", "all-in-one", "what to install: "+strings.Join(install.Presets(chart), ", "))
	fl.StringArrayVarP(&files, "values", "f", nil, "file with values of the chart; later ones are laid over earlier ones")
	fl.StringArrayVar(&set, "set", nil, "a.b=VALUE, laid over all files")
	fl.StringArrayVar(&setString, "set-string", nil, "the same, but VALUE is a string even if it looks like a number or true")
	fl.StringVar(&image, "image", "", "image of every role, NAME:TAG")
	fl.BoolVar(&dryRun, "dry-run", false, "print what would be applied to this cluster, and do nothing")
	fl.BoolVar(&offline, "offline", false, "print it without asking any cluster: as if it were empty")
	fl.BoolVar(&noWait, "no-wait", false, "do not wait until it is ready")
	fl.DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	return c
}

// imageValues splits the name of an image into the chart's values.
func imageValues(image string) []string {
	name, tag := image, ""
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		name, tag = image[:i], image[i+1:]
	}
	return []string{"image.repository=" + name, "image.tag=" + tag}
}

func printYAML(cmd *cobra.Command, r *install.Rendered) error {
	text, err := r.YAML()
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// asUsage gives errors about what was asked for their exit code.
func asUsage(err error) error {
	var usage *install.UsageError
	if errors.As(err, &usage) {
		return &ExitError{Code: exitUsage, Err: err}
	}
	return err
}

func newUninstallCmd() *cobra.Command {
	f := &releaseFlags{}
	var force bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove from a cluster all that mangru install put there",
		Long: "Removes every object of the release, the namespaces that were made for it, and the definitions of custom objects.\n" +
			"It returns when nothing is left. Objects of those kinds that people made stop it, unless --force is given.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cluster, _, err := f.cluster(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("gave up after %s (--timeout)", timeout))
			defer cancel()
			return asUsage(cluster.Uninstall(ctx, f.namespace, f.release, force))
		},
	}
	f.register(c)
	c.Flags().BoolVar(&force, "force", false, "remove OpenTelemetryCollector objects that people made, too")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait until everything is gone")
	return c
}
