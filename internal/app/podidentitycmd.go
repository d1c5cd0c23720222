package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/telemetry"
)

func newPodIdentityCmd() *cobra.Command {
	f := &awsFlags{}
	return group("pod-identity", "Let service accounts act as roles by Pod Identity",
		"With Pod Identity the server keeps which service account of which cluster acts as which role, and an agent on each\n"+
			"node (mangru pod-identity-agent) exchanges pods' tokens for credentials. The role trusts pods.eks.amazonaws.com:\n"+
			"mangru role create NAME --trust-service pods.eks.amazonaws.com", f,
		newAssociationCreateCmd(f), newAssociationListCmd(f), newAssociationDeleteCmd(f))
}

// podAssociation is a Pod Identity association as EKS describes it.
type podAssociation struct {
	ClusterName    string            `json:"clusterName"`
	Namespace      string            `json:"namespace"`
	ServiceAccount string            `json:"serviceAccount"`
	RoleARN        string            `json:"roleArn"`
	TargetRoleARN  string            `json:"targetRoleArn,omitempty"`
	ExternalID     string            `json:"externalId,omitempty"`
	AssociationARN string            `json:"associationArn"`
	AssociationID  string            `json:"associationId"`
	Tags           map[string]string `json:"tags,omitempty"`
	CreatedAt      float64           `json:"createdAt"`
}

// clusterFlag lets a command be about a registered cluster.
func clusterFlag(c *cobra.Command, cluster *string) {
	c.Flags().StringVar(cluster, "cluster", "", "name of a registered cluster")
}

// clusterClient returns the client of a command that needs a cluster's name.
func (f *awsFlags) clusterClient(ctx context.Context, cluster string) (*awsClient, error) {
	if cluster == "" {
		return nil, usagef("--cluster: required")
	}
	return f.client(ctx)
}

func associationsPath(cluster string) string {
	return clusterPath(cluster) + "/pod-identity-associations"
}

func newAssociationCreateCmd(f *awsFlags) *cobra.Command {
	var cluster, namespace, account, role, target string
	var noTags bool
	c := &cobra.Command{Use: "create", Short: "Let a service account act as a role",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cluster == "" || account == "" || role == "" {
				return usagef("--cluster, --service-account and --role: required")
			}
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			arn := role
			if !strings.HasPrefix(role, "arn:") {
				if arn, err = c.resolvePrincipal(cmd, "role/"+role); err != nil {
					return err
				}
			}
			in := map[string]any{"namespace": namespace, "serviceAccount": account, "roleArn": arn, "disableSessionTags": noTags}
			if target != "" {
				in["targetRoleArn"] = target
			}
			var out struct {
				Association podAssociation `json:"association"`
			}
			if err := c.rest(ctx, "CreatePodIdentityAssociation", http.MethodPost, associationsPath(cluster), in, &out); err != nil {
				return err
			}
			return f.done(cmd, out, "service account %s/%s of cluster %s acts as %s (%s)", namespace, account, cluster, arn, out.Association.AssociationID)
		}}
	clusterFlag(c, &cluster)
	c.Flags().StringVarP(&namespace, "namespace", "n", "default", "namespace of the service account")
	c.Flags().StringVar(&account, "service-account", "", "name of the service account")
	c.Flags().StringVar(&role, "role", "", "name or ARN of the role")
	c.Flags().StringVar(&target, "target-role", "", "ARN of a role that is assumed with the first one's credentials, and whose credentials pods get")
	c.Flags().BoolVar(&noTags, "disable-session-tags", false, "leave out the tags that name cluster, namespace and pod")
	return c
}

func (c *awsClient) associations(ctx context.Context, cluster string) ([]podAssociation, error) {
	type page struct {
		Associations []podAssociation `json:"associations"`
		NextToken    string           `json:"nextToken"`
	}
	list := []podAssociation{}
	path := associationsPath(cluster)
	err := restPages(ctx, c, serviceEKS, "ListPodIdentityAssociations", path, url.Values{}, func(p *page) (string, error) {
		for i := range p.Associations {
			var full struct {
				Association podAssociation `json:"association"`
			}
			id := p.Associations[i].AssociationID
			if err := c.rest(ctx, "DescribePodIdentityAssociation", http.MethodGet, path+"/"+id, nil, &full); err != nil {
				return "", err
			}
			list = append(list, full.Association)
		}
		return p.NextToken, nil
	})
	return list, err
}

func newAssociationListCmd(f *awsFlags) *cobra.Command {
	var cluster string
	c := &cobra.Command{Use: "list", Short: "List the associations of a cluster",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.clusterClient(cmd.Context(), cluster)
			if err != nil {
				return err
			}
			list, err := c.associations(cmd.Context(), cluster)
			if err != nil {
				return err
			}
			return f.show(cmd, map[string]any{"associations": list}, func(t *table) {
				t.row("ID", "NAMESPACE", "SERVICE ACCOUNT", "ROLE")
				for i := range list {
					a := &list[i]
					t.row(a.AssociationID, a.Namespace, a.ServiceAccount, a.RoleARN)
				}
			})
		}}
	clusterFlag(c, &cluster)
	return c
}

func newAssociationDeleteCmd(f *awsFlags) *cobra.Command {
	var cluster string
	c := &cobra.Command{Use: "delete ID", Short: "Take a role from a service account", Args: exactly("an association id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.clusterClient(cmd.Context(), cluster)
			if err != nil {
				return err
			}
			path := associationsPath(cluster) + "/" + url.PathEscape(args[0])
			if err := c.rest(cmd.Context(), "DeletePodIdentityAssociation", http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			return f.done(cmd, map[string]string{"associationId": args[0]}, "association %s deleted", args[0])
		}}
	clusterFlag(c, &cluster)
	return c
}

func newPodIdentityAgentCmd() *cobra.Command {
	cfg := podAgentConfig{}
	var endpoint, logLevel, logFormat string
	var addAddress bool
	c := &cobra.Command{Use: "pod-identity-agent", Short: "Give the pods of this node credentials for their tokens",
		Long: "Answers where the AWS SDKs of pods look for Pod Identity credentials. It runs once on every node, in the node's\n" +
			"network, and only answers on an address of the node itself. It has no rights of its own: what it gets for a token\n" +
			"is what the pod that holds the token may have.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := telemetry.NewLogger(cmd.ErrOrStderr(), logFormat, logLevel)
			if err != nil {
				return usagef("%w", err)
			}
			c := &awsClient{getenv: func(string) string { return "" }}
			if err := c.setEndpoint(endpoint); err != nil {
				return err
			}
			if endpoint == "" || endpoint == realAWS {
				return usagef("--endpoint: required: the URL of the server")
			}
			cfg.Endpoint = c.endpoint
			if addAddress {
				if err := addLocalAddress(cfg.Listen); err != nil {
					return fmt.Errorf("--add-address: %w", err)
				}
			}
			return runPodAgent(cmd.Context(), cfg, logger)
		}}
	c.Flags().StringVar(&cfg.Listen, "listen", "169.254.170.23:80", "address to answer on: link-local or loopback")
	c.Flags().StringVar(&cfg.Cluster, "cluster", "", "name or ARN of the registered cluster that this node is of")
	c.Flags().StringVar(&endpoint, "endpoint", "", "URL of the server")
	c.Flags().BoolVar(&addAddress, "add-address", false, "give the node the address of --listen first, on a link pod-id-link0 (needs NET_ADMIN)")
	c.Flags().StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar(&logFormat, "log-format", "text", "text or json")
	return c
}

func runPodAgent(ctx context.Context, cfg podAgentConfig, logger *slog.Logger) error {
	reg := prometheus.NewRegistry()
	agent, err := newPodAgent(cfg, reg, logger)
	if err != nil {
		return err
	}
	server, err := httpserver.New(httpserver.Config{
		Name: "pod-identity", Addr: cfg.Listen, LogLevel: slog.LevelDebug, Registerer: reg,
		ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: maxTokenHeader,
	}, agent.handler(reg), logger)
	if err != nil {
		return err
	}
	logger.Info("pod identity agent listens", "address", server.Addr().String(), "cluster", cfg.Cluster, "endpoint", cfg.Endpoint)
	return server.Run(ctx)
}
