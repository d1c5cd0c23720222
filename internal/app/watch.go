package app

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

// watched is what a collector without a configuration of its own looks at.
type watched struct {
	// kubeconfig is the file that leads to the cluster; empty where inPod or
	// where there is no cluster.
	kubeconfig string
	inPod      bool
	// cluster is the name that becomes the label "cluster".
	cluster string
	// server is the API server's address, for people to read.
	server string
}

// isCluster reports whether there is a cluster to watch, rather than only this
// machine.
func (w watched) isCluster() bool { return w.inPod || w.kubeconfig != "" }

// tokenFile is where every pod finds the token of its service account.
const tokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// findWatched looks for a cluster: the kubeconfig given, $KUBECONFIG,
// ~/.kube/config, the pod that this runs in; with none, this machine is watched.
// A file that was named must lead to a cluster; one that was found may not.
func findWatched(given string, getenv func(string) string, home string) (watched, error) {
	if given != "" {
		return readKubeconfig(given)
	}
	if env := getenv("KUBECONFIG"); env != "" {
		for _, file := range filepath.SplitList(env) {
			if _, err := os.Stat(file); err == nil {
				return readKubeconfig(file)
			}
		}
		return watched{}, &ExitError{Code: exitUsage, Err: fmt.Errorf("$KUBECONFIG names no file that exists: %s", env)}
	}
	if home != "" {
		file := filepath.Join(home, ".kube", "config")
		if _, err := os.Stat(file); err == nil {
			return readKubeconfig(file)
		}
	}
	if host := getenv("KUBERNETES_SERVICE_HOST"); host != "" {
		if _, err := os.Stat(tokenFile); err == nil {
			name := getenv("CLUSTER_NAME")
			if name == "" {
				name = "kubernetes"
			}
			return watched{inPod: true, cluster: name, server: host}, nil
		}
	}
	return watched{}, nil
}

func readKubeconfig(file string) (watched, error) {
	bad := func(err error) (watched, error) {
		return watched{}, &ExitError{Code: exitUsage, Err: fmt.Errorf("kubeconfig %s: %w", file, err)}
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return bad(err)
	}
	cfg, err := clientcmd.LoadFromFile(abs)
	if err != nil {
		return bad(err)
	}
	if cfg.CurrentContext == "" {
		return bad(errors.New("field current-context: is empty; choose one with kubectl config use-context"))
	}
	c := cfg.Contexts[cfg.CurrentContext]
	if c == nil {
		return bad(fmt.Errorf("field current-context: found %q, which is not among the contexts", cfg.CurrentContext))
	}
	cluster := cfg.Clusters[c.Cluster]
	if cluster == nil {
		return bad(fmt.Errorf("context %q: cluster %q is not among the clusters", cfg.CurrentContext, c.Cluster))
	}
	return watched{kubeconfig: abs, cluster: clusterName(c.Cluster), server: cluster.Server}, nil
}

// clusterName shortens the names that tools write into kubeconfigs:
// arn:aws:eks:us-east-1:123456789012:cluster/prod and prod.us-east-1.eksctl.io
// both mean prod.
func clusterName(name string) string {
	if strings.HasPrefix(name, "arn:") {
		return path.Base(name)
	}
	if short, ok := strings.CutSuffix(name, ".eksctl.io"); ok {
		short, _, _ = strings.Cut(short, ".")
		return short
	}
	return name
}
