package app

import (
	"errors"
	"fmt"

	"k8s.io/client-go/kubernetes"

	"github.com/mangru/mangru/internal/dashboard/provision"
)

// folderAnnotation names the folder of a ConfigMap's boards, as Grafana's Helm
// charts have it.
const folderAnnotation = "grafana_folder"

// boardProviders reads where boards come from besides people.
func (u *Up) boardProviders() ([]provision.Provider, *provision.ConfigMaps, error) {
	var providers []provision.Provider
	if u.cfg.Dashboards != "" {
		var err error
		if providers, err = provision.ReadProviders(u.cfg.Dashboards); err != nil {
			return nil, nil, &ExitError{Code: exitUsage, Err: fmt.Errorf("--dashboards: %w", err)}
		}
	}
	if u.cfg.DashboardsLabel == "" {
		return providers, nil, nil
	}
	if !u.watched.isCluster() {
		return nil, nil, &ExitError{Code: exitUsage, Err: errors.New("--dashboards-label: no cluster is watched; name one with --kubeconfig")}
	}
	client, err := u.watched.client()
	if err != nil {
		return nil, nil, fmt.Errorf("--dashboards-label: %w", err)
	}
	return providers, &provision.ConfigMaps{Client: client, Label: u.cfg.DashboardsLabel, Annotation: folderAnnotation}, nil
}

// client speaks with the watched cluster.
func (w watched) client() (kubernetes.Interface, error) {
	kube := kubeFlags{kubeconfig: w.kubeconfig}
	cfg, err := kube.config()
	if err != nil {
		return nil, err
	}
	cfg.Timeout = 0 // watches last
	return kubernetes.NewForConfig(cfg)
}
