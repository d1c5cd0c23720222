//go:build unix

package cluster

import (
	"bytes"
	"embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed manifests/*.yaml
var manifestFiles embed.FS

// manifestData is what the manifests are filled in with.
type manifestData struct {
	Domain, DNS                       string
	CoreDNS, Toolbox                  string // images
	KSM, KSMVersion                   string
	NodeExporter, NodeExporterVersion string
}

func newManifestData(p plan, versions map[string]string) manifestData {
	ksm, exporter := versions["kube-state-metrics"], versions["node_exporter"]
	return manifestData{
		Domain: dnsDomain, DNS: p.serviceDNS().String(),
		CoreDNS: coreDNSImage, Toolbox: toolboxImage,
		KSM: "kube-state-metrics:" + ksm, KSMVersion: strings.TrimPrefix(ksm, "v"),
		NodeExporter: "node-exporter:" + exporter, NodeExporterVersion: strings.TrimPrefix(exporter, "v"),
	}
}

// manifest renders one of the files.
func manifest(name string, data manifestData) ([]byte, error) {
	t, err := template.New(name+".yaml").Option("missingkey=error").ParseFS(manifestFiles, "manifests/"+name+".yaml")
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// addons are the manifests that NoAddons leaves out, and what to wait for.
var addons = []struct{ manifest, workload string }{
	{"kube-state-metrics", "/apis/apps/v1/namespaces/default/deployments/ksm-kube-state-metrics"},
	{"node-exporter", "/apis/apps/v1/namespaces/default/daemonsets/nodeexporter-prometheus-node-exporter"},
	{"shop", "/apis/apps/v1/namespaces/default/deployments/shop"},
}
