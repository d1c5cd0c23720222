package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Site is what an installation in a cluster says about itself, and what it does
// for the cluster it runs in. The zero value does nothing.
type Site struct {
	// ConfigMap, as NAMESPACE/NAME, is told the workspace and its addresses. It
	// must be there.
	ConfigMap string
	// Cluster is the name under which the cluster is registered.
	Cluster string
	// PodRoles are service accounts of it and what they may do, each as
	// ROLE=NAMESPACE/NAME:POLICY,POLICY.
	PodRoles []string
}

// podRole is one of Site.PodRoles.
type podRole struct {
	role, namespace, name string
	policies              []string
}

func parsePodRole(text string) (podRole, error) {
	role, rest, ok := strings.Cut(text, "=")
	account, policies, ok2 := strings.Cut(rest, ":")
	namespace, name, ok3 := strings.Cut(account, "/")
	if !ok || !ok2 || !ok3 || role == "" || namespace == "" || name == "" || policies == "" {
		return podRole{}, usagef("--pod-role: found %q, wanted ROLE=NAMESPACE/SERVICE-ACCOUNT:POLICY,POLICY", text)
	}
	return podRole{role, namespace, name, strings.Split(policies, ",")}, nil
}

func (s Site) check() error {
	if ns, name, ok := strings.Cut(s.ConfigMap, "/"); s.ConfigMap != "" && (!ok || ns == "" || name == "") {
		return usagef("--site: found %q, wanted NAMESPACE/NAME of a ConfigMap", s.ConfigMap)
	}
	for _, p := range s.PodRoles {
		if _, err := parsePodRole(p); err != nil {
			return err
		}
	}
	if len(s.PodRoles) > 0 && s.Cluster == "" {
		return usagef("--pod-role needs --cluster, the name of the cluster that this runs in")
	}
	return nil
}

// settler makes a Site so, once the server answers.
type settler struct {
	site Site
	log  *slog.Logger
	aws  *awsClient
	data map[string]string // of the ConfigMap
}

// siteRetry is how long to wait before what failed is tried again.
const siteRetry = 5 * time.Second

// Run tries until everything is so, then waits for ctx.
func (s *settler) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.settle(ctx); err != nil {
			s.log.Warn("the cluster cannot be told about this site yet", "err", err, "again_in", siteRetry)
			select {
			case <-ctx.Done():
			case <-time.After(siteRetry):
			}
			continue
		}
		s.log.Info("the cluster is registered and knows this site", "cluster", s.site.Cluster, "roles", len(s.site.PodRoles), "configmap", s.site.ConfigMap)
		<-ctx.Done()
	}
	return nil
}

func (s *settler) settle(ctx context.Context) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("only a pod has a cluster to tell: %w", err)
	}
	config.Timeout = callTimeout
	if len(s.site.PodRoles) > 0 {
		if err := s.roles(ctx, config); err != nil {
			return err
		}
	}
	if s.site.ConfigMap == "" {
		return nil
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	namespace, name, _ := strings.Cut(s.site.ConfigMap, "/")
	patch, err := json.Marshal(map[string]any{"data": s.data})
	if err != nil {
		return err
	}
	if _, err := kube.CoreV1().ConfigMaps(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "mangru-server"}); err != nil {
		return fmt.Errorf("ConfigMap %s: %w", s.site.ConfigMap, err)
	}
	return nil
}

// roles registers the cluster and makes the roles of its service accounts, by
// the same calls as mangru cluster register and mangru irsa create.
func (s *settler) roles(ctx context.Context, config *rest.Config) error {
	facts := &clusterFacts{}
	if err := readCluster(ctx, config, facts); err != nil {
		return err
	}
	if _, err := s.aws.registerCluster(ctx, s.site.Cluster, facts, nil, true); err != nil {
		return fmt.Errorf("register the cluster: %w", err)
	}
	for _, text := range s.site.PodRoles {
		r, err := parsePodRole(text)
		if err != nil {
			return err
		}
		plan, err := newIRSAPlan(ctx, s.aws, nil, &irsaSpec{
			Cluster: s.site.Cluster, Namespace: r.namespace, ServiceAccount: r.name, Policies: r.policies, Role: r.role, RoleOnly: true,
		})
		if err == nil {
			err = plan.run(ctx)
		}
		if err != nil {
			return fmt.Errorf("role %s: %w", r.role, err)
		}
	}
	return nil
}

// newSettler returns what makes the site so; nil where there is nothing to do.
func (u *Up) newSettler(key credentials) *settler {
	if u.cfg.Site.ConfigMap == "" && len(u.cfg.Site.PodRoles) == 0 {
		return nil
	}
	return &settler{
		site: u.cfg.Site, log: u.log.With("component", "site"),
		aws: &awsClient{
			endpoint: "http://" + reachable(u.server.Addr().String()), region: u.cfg.Region, creds: key,
			base: http.DefaultTransport, getenv: os.Getenv,
		},
		data: map[string]string{
			"workspace": u.workspace.ID, "remoteWrite": u.workspace.RemoteWriteURL, "query": u.workspace.PrometheusEndpoint,
			"endpoint": u.server.URL(), "region": u.cfg.Region, "account": u.server.Account(), "cluster": u.cfg.Site.Cluster,
		},
	}
}
