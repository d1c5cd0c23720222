//go:build unix

package cluster

import (
	"fmt"
	"path/filepath"
	"slices"
)

const etcdURL, etcdPeerURL = "http://127.0.0.1:2379", "http://127.0.0.1:2380"

// inControl prefixes a command so that it runs in the control plane's network
// namespace, in place of the prefix: the process id stays.
func (p plan) inControl(argv ...string) []string {
	return append([]string{"ip", "netns", "exec", p.netns("control")}, argv...)
}

// startAPI starts etcd and the API server, which waits for it.
func (u *upper) startAPI() error {
	if err := u.spawnControl("etcd", u.etcdArgs()...); err != nil {
		return err
	}
	return u.spawnControl("kube-apiserver", apiServerArgs(u.plan, u.program("kubernetes", "kube-apiserver"), u.pki.dir)...)
}

// startControllers starts what talks to the API server.
func (u *upper) startControllers() error {
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		config := filepath.Join(u.opts.Dir, name+".kubeconfig")
		if err := u.pki.kubeconfig(config, name, u.plan.apiURL()); err != nil {
			return err
		}
		args := []string{
			u.program("kubernetes", name),
			"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
			"--bind-address=127.0.0.1", "--leader-elect=false", "--kube-api-qps=300", "--kube-api-burst=500",
		}
		if name == "kube-controller-manager" {
			args = append(args, controllerArgs(u.plan, u.pki.dir)...)
		}
		if err := u.spawnControl(name, args...); err != nil {
			return err
		}
	}
	return nil
}

func (u *upper) spawnControl(name string, argv ...string) error {
	return u.state.spawn(u.logDir(), name, u.plan.inControl(argv...)...)
}

// etcdArgs trade durability for speed: the data is thrown away with the cluster.
func (u *upper) etcdArgs() []string {
	return []string{
		"etcd", "--data-dir=" + filepath.Join(u.opts.Dir, "etcd"), "--unsafe-no-fsync", "--logger=zap", "--log-level=warn",
		"--quota-backend-bytes=4294967296", "--auto-compaction-retention=5m",
		"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=" + etcdPeerURL, "--initial-advertise-peer-urls=" + etcdPeerURL,
		"--initial-cluster=default=" + etcdPeerURL,
	}
}

// apiServerArgs name as token issuer the address that answers on the machine
// and in pods alike, so that whoever checks a token can fetch its keys.
func apiServerArgs(p plan, program, pki string) []string {
	in := func(file string) string { return filepath.Join(pki, file) }
	return slices.Concat([]string{
		program,
		"--etcd-servers=" + etcdURL,
		"--bind-address=" + p.control().String(), "--advertise-address=" + p.control().String(), fmt.Sprintf("--secure-port=%d", apiPort),
		"--service-cluster-ip-range=" + p.services().String(),
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
	}, []string{ // who we are, whom we trust
		"--tls-cert-file=" + in("kube-apiserver.crt"), "--tls-private-key-file=" + in("kube-apiserver.key"),
		"--client-ca-file=" + in("ca.crt"),
		"--kubelet-certificate-authority=" + in("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + in("kubelet-client.crt"), "--kubelet-client-key=" + in("kubelet-client.key"),
	}, []string{ // extension API servers
		"--requestheader-client-ca-file=" + in("front-ca.crt"), "--requestheader-allowed-names=front-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + in("front-client.crt"), "--proxy-client-key-file=" + in("front-client.key"),
	}, []string{ // service account tokens
		"--service-account-issuer=" + p.apiURL(), "--service-account-jwks-uri=" + p.apiURL() + "/openid/v1/jwks",
		"--service-account-key-file=" + in("tokens.pub"), "--service-account-signing-key-file=" + in("tokens.key"),
	})
}

func controllerArgs(p plan, pki string) []string {
	return []string{
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + filepath.Join(pki, "tokens.key"), "--root-ca-file=" + filepath.Join(pki, "ca.crt"),
		"--cluster-signing-cert-file=" + filepath.Join(pki, "ca.crt"), "--cluster-signing-key-file=" + filepath.Join(pki, "ca.key"),
		"--allocate-node-cidrs=false", "--service-cluster-ip-range=" + p.services().String(),
		"--concurrent-deployment-syncs=10", "--concurrent-replicaset-syncs=10",
	}
}
