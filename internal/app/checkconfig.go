package app

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/otelconf"
)

// newCheckConfigCmd is `mangru check-config`: it loads a collector's
// configuration and prints what would run, without starting anything.
func newCheckConfigCmd() *cobra.Command {
	var o otelconf.Options
	var dedupe string
	c := &cobra.Command{
		Use:   "check-config FILE...",
		Short: "Check a collector's configuration and print what would run",
		Long: "Loads OpenTelemetry Collector YAML, an OpenTelemetryCollector object or a Prometheus file\n" +
			"like `mangru collector --config` does, later files laid over earlier ones, and prints jobs,\n" +
			"endpoints and warnings. Ends with 2 and names file, line and field if something is wrong.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Files, o.Dedupe = args, otelconf.Dedupe(dedupe)
			cfg, err := otelconf.Load(o)
			if err != nil {
				return &ExitError{Code: exitUsage, Err: err}
			}
			return printConfig(cmd.OutOrStdout(), cfg)
		},
	}
	c.Flags().StringArrayVar(&o.Set, "set", nil, "a.b.c=VALUE, laid over all files; may be repeated")
	c.Flags().StringVar(&dedupe, "dedupe", "", "off or first-job-wins: what happens to targets that several jobs scrape")
	c.Flags().StringSliceVar(&o.FeatureGates, "feature-gates", nil, "feature gates of the OpenTelemetry Collector, such as a,-b")
	c.Flags().StringSliceVar(&o.Features, "enable-feature", nil, "features of Prometheus, such as st-storage")
	c.Flags().StringVar(&o.Shard, "shard", "", "i/n, auto or off, as mangru collector takes it")
	c.Flags().StringVar((*string)(&o.Naming), "naming", "", "prometheus or otel, as mangru collector takes it")
	c.Flags().BoolVar(&o.SkipUnsupportedSignals, "skip-unsupported-signals", false, "leave out pipelines for traces and logs instead of refusing them")
	return c
}

// printConfig writes what a configuration would run. Nothing secret is in it:
// of headers the names, of credentials the kind.
func printConfig(w io.Writer, c *otelconf.Config) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "valid: %s\n\n%s\n", c.Form, plural(len(c.ScrapeConfigs), "scrape job"))
	if len(c.ScrapeConfigs) > 0 {
		fmt.Fprintln(t, "  JOB\tINTERVAL\tTIMEOUT\tDISCOVERY\tRULES\tMETRIC RULES\tPROCESSOR STEPS")
	}
	for _, sc := range c.ScrapeConfigs {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%d\t%d\t%d\n", sc.JobName, sc.ScrapeInterval, sc.ScrapeTimeout, discoveries(sc),
			len(sc.RelabelConfigs), len(sc.MetricRelabelConfigs), len(c.Programs[sc.JobName]))
	}
	for _, a := range c.TargetAllocators {
		fmt.Fprintf(t, "target allocator %s, every %s, as %s\n", a.URL, a.Interval, a.CollectorID)
	}
	fmt.Fprintf(t, "targets are %s\n", sharingText(c))
	fmt.Fprintf(t, "targets that several jobs have: reported%s\n", map[bool]string{true: ", scraped by the first job only"}[c.Dedupe == otelconf.DedupeFirstJobWins])
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s\n", plural(len(c.Endpoints), "endpoint"))
	for _, e := range c.Endpoints {
		printEndpoint(w, e)
	}
	fmt.Fprintf(w, "\nbatches wait up to %s; the queue holds up to %d MiB and %s%s\n", min(c.BatchTimeout, maxBatchTimeout),
		c.Queue.MaxBytes>>20, shortDuration(c.Queue.MaxAge), map[bool]string{true: ", also in " + c.Queue.Directory}[c.Queue.Directory != ""])
	fmt.Fprintf(w, "own metrics: %s; health check: %s; log level: %s\n", orOff(c.MetricsAddress), orOff(c.HealthAddress), c.LogLevel)
	if len(c.Warnings) > 0 {
		fmt.Fprintf(w, "\n%s\n", plural(len(c.Warnings), "warning"))
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(w, "  %s: %s\n", warning.Where, warning.Text)
	}
	if len(c.Notes) > 0 {
		fmt.Fprintf(w, "\n%s\n", plural(len(c.Notes), "note"))
	}
	for _, n := range c.Notes {
		fmt.Fprintf(w, "  %s: %s\n", n.Where, n.Text)
	}
	return nil
}

// sharingText says with whom the targets are shared.
func sharingText(c *otelconf.Config) string {
	switch {
	case c.Shard.Count > 0:
		return fmt.Sprintf("part %d of %d, counted from 0", c.Shard.Index, c.Shard.Count)
	case c.Sharding.Auto:
		return "shared with the other pods of the workload, where there are any"
	}
	return "all scraped by this collector"
}

func printEndpoint(w io.Writer, e otelconf.Endpoint) {
	fmt.Fprintf(w, "  %s\n    %s\n    %s\n", e.Name, e.URL, authentication(e))
	fmt.Fprintf(w, "    requests: up to %d bytes, %d samples, %d at once, %s each\n", e.MaxRequestBytes, e.MaxSamplesPerRequest, e.MaxShards, shortDuration(e.Timeout))
	if e.Jobs != nil {
		fmt.Fprintf(w, "    jobs: %s\n", strings.Join(e.Jobs, ", "))
	}
	if e.Protocol != "" {
		fmt.Fprintf(w, "    remote write %s only\n", e.Protocol)
	}
	if n := len(e.Rewrite); n > 0 {
		fmt.Fprintf(w, "    series pass %s of their own before they are sent\n", plural(n, "step"))
	}
	if !e.ExternalLabels.IsEmpty() {
		fmt.Fprintf(w, "    external labels: %s\n", e.ExternalLabels)
	}
	if len(e.Headers) > 0 {
		names := make([]string, 0, len(e.Headers))
		for name := range e.Headers {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(w, "    headers: %s (values hidden)\n", strings.Join(names, ", "))
	}
}

// authentication names the kind of credentials, never the credentials.
func authentication(e otelconf.Endpoint) string {
	switch {
	case e.SigV4 != nil:
		s := *e.SigV4
		text := fmt.Sprintf("signed (SigV4) for service %s, region %s", s.Service, s.Region)
		if s.Region == "" {
			text = fmt.Sprintf("signed (SigV4) for service %s, region from the AWS SDK's settings", s.Service)
		}
		switch {
		case s.AccessKey != "":
			text += ", with the keys in the configuration"
		case s.Profile != "":
			text += ", with profile " + s.Profile
		default:
			text += ", with the credentials of the environment"
		}
		if s.RoleARN != "" {
			text += ", as role " + s.RoleARN
		}
		return text
	case e.HTTP.BasicAuth != nil:
		return "basic authentication (password hidden)"
	case e.HTTP.Authorization != nil:
		return "authorization header (hidden)"
	case e.HTTP.OAuth2 != nil:
		return "OAuth 2 (secret hidden)"
	}
	return "no authentication"
}

// discoveries names the ways a job finds targets, Kubernetes with its role.
func discoveries(sc *config.ScrapeConfig) string {
	var names []string
	for _, sd := range sc.ServiceDiscoveryConfigs {
		switch sd := sd.(type) {
		case *kubernetes.SDConfig:
			names = append(names, "kubernetes/"+string(sd.Role))
		case discovery.StaticConfig:
			n := 0
			for _, group := range sd {
				n += len(group.Targets)
			}
			names = append(names, "static ("+plural(n, "target")+")")
		default:
			names = append(names, sd.Name())
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// shortDuration leaves out the zero units that Go writes: 2h0m0s is 2h.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func orOff(address string) string {
	if address == "" {
		return "off"
	}
	return address
}
