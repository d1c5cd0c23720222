//go:build unix

package cluster

import "fmt"

// containerdConfig is in format 2, which containerd 1.6 and all later ones read.
func containerdConfig(plugins, snapshotter string) string {
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%s"
  disable_apparmor = true
  # In a container without CAP_SYS_RESOURCE no process may lower its OOM score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "%s"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%s"
    conf_dir = "/var/lib/cni/net.d"
`, pauseImage, snapshotter, plugins)
}

// kubeletConfig never removes an image, because none can be fetched again, and
// evicts pods only when the machine is all but full.
func kubeletConfig(p plan) string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[1]s/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: %[1]s/pki/kubelet.crt
tlsPrivateKeyFile: %[1]s/pki/kubelet.key
containerRuntimeEndpoint: %[2]s
clusterDNS: ["%[3]s"]
clusterDomain: %[4]s
resolvConf: %[1]s/resolv.conf
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
oomScoreAdj: 0
maxPods: %[5]d
registryPullQPS: 0
serializeImagePulls: false
nodeStatusUpdateFrequency: 5s
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%%, nodefs.inodesFree: 1%%, imagefs.available: 1%%}
`, nodeHome, containerd, p.serviceDNS(), dnsDomain, maxPodsPerNode)
}

// proxyConfig leaves the machine's connection tracking limits alone.
func proxyConfig(p plan, n node) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: %s
hostnameOverride: %s
oomScoreAdj: 0
clientConnection: {kubeconfig: %s/kube-proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, p.pods(), n.Name, nodeHome)
}

// podNetwork gives each pod a link of its own to the node. Unlike a bridge,
// this takes every packet through the node's routing, so that kube-proxy's
// rules see those between pods of one node without the br_netfilter module.
func podNetwork(n node) string {
	return fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni/pods",
        "ranges": [[{"subnet": "%s"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
  ]
}
`, n.Pods)
}
