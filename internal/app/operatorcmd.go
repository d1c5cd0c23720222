package app

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/memory"
	"github.com/mangru/mangru/internal/operator"
	"github.com/mangru/mangru/internal/telemetry"
)

func newOperatorCmd() *cobra.Command {
	var kube kubeFlags
	var o operator.Options
	var level, format string
	c := &cobra.Command{
		Use:   "operator",
		Short: "Run OpenTelemetryCollector objects, and give pods AWS credentials",
		Long: "Turns every OpenTelemetryCollector object into a workload, its configuration, services and rights; serves the\n" +
			"webhooks for them, for sidecars and for credentials. mangru install puts it into a cluster.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := telemetry.NewLogger(cmd.ErrOrStderr(), format, level)
			if err != nil {
				return &ExitError{Code: exitUsage, Err: err}
			}
			useKubeLog(logger)
			if o.Namespace == "" {
				return &ExitError{Code: exitUsage, Err: errors.New("--namespace: required outside a pod")}
			}
			if o.Image == "" {
				return &ExitError{Code: exitUsage, Err: errors.New("--image: required: the image of collectors that name none")}
			}
			config, err := kube.config()
			if err != nil {
				return err
			}
			config.Timeout = 0 // watches last
			o.Logger = logger
			// What the start of a program this large maps of its file would be most of its peak.
			if err := errors.Join(memory.FineProgram(), memory.ForgetProgram()); err != nil {
				logger.Debug("pages of the program stay in memory", "err", err)
			}
			go keepSmall(cmd.Context(), logger)
			return operator.Run(cmd.Context(), config, o)
		},
	}
	kube.register(c)
	f := c.Flags()
	f.StringVarP(&o.Namespace, "namespace", "n", os.Getenv("POD_NAMESPACE"), "namespace of the operator itself")
	f.StringVar(&o.Image, "image", "", "image of collectors that name none; must be of mangru")
	f.StringVar(&o.Service, "service", "mangru-operator", "Service that leads to the webhooks")
	f.StringVar(&o.Webhooks, "webhooks", "", "name of the webhook configurations; empty serves none")
	f.BoolVar(&o.RBAC, "automatic-rbac", true, "make ClusterRoles for collectors that bring no service account")
	f.BoolVar(&o.LeaderElection, "leader-elect", true, "let one of several replicas work at a time")
	f.BoolVar(&o.TakeOver, "take-over", false, "work although another OpenTelemetry operator is there")
	f.BoolVar(&o.Credentials, "credentials", true, "give pods the AWS credentials of their service account")
	f.StringVar(&o.STSEndpoint, "sts-endpoint", "", "AWS_ENDPOINT_URL_STS of such pods; empty leaves it to the SDKs")
	f.StringVar(&o.Region, "region", "", "AWS_REGION of such pods; empty leaves it out")
	f.StringVar(&o.MetricsAddress, "metrics-address", "0", "address for the operator's own metrics; 0 is nowhere")
	f.StringVar(&o.ProbeAddress, "probe-address", ":8081", "address for /healthz and /readyz")
	f.StringVar(&o.PprofAddress, "pprof", "", "address for Go's profiles, /debug/pprof/; empty is nowhere")
	f.StringVar(&o.WebhookHost, "webhook-host", "", "address for the webhooks (default all)")
	f.IntVar(&o.WebhookPort, "webhook-port", 9443, "port for the webhooks")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&format, "log-format", "text", "text or json")
	return c
}
