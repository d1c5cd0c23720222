//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// patience is how long any one step may take on a slow, busy machine.
const patience = 3 * time.Minute

// upper brings a cluster up.
type upper struct {
	opts     Options
	plan     plan
	nodes    []node
	state    *state
	cgroups  cgroupTree
	pki      *pki
	kube     *kube
	versions map[string]string // of components
	log      *slog.Logger
	began    time.Time
}

// Up makes sure that a cluster of the wanted shape runs, and returns it. If it
// runs already, nothing is done; one of another shape, or an incomplete one, is
// taken down first. The cluster outlives the calling program.
func Up(ctx context.Context, opts Options) (*Cluster, error) {
	o, err := opts.complete()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkUser(), checkPackages()); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	u := &upper{opts: o, plan: newPlan(o), log: o.Log, began: time.Now()}
	u.nodes = u.plan.nodes(o.Nodes)
	// A range that others use is worth saying before the programs are built;
	// with a cluster of ours up, the range is in use by it.
	if _, err := loadState(o.Dir); errors.Is(err, errNoCluster) {
		if err := errors.Join(refuseForeign(o.Dir), checkRange(u.plan)); err != nil {
			return nil, err
		}
	}
	programs, err := u.build(ctx)
	if err != nil {
		return nil, err
	}
	same, err := u.alreadyUp(programs)
	if err != nil {
		return nil, err
	}
	if same {
		u.log.Info("already up", "nodes", o.Nodes, "simulated", o.FakeNodes)
		return newCluster(o, u.state), nil
	}
	if err := takeDown(ctx, o); err != nil {
		return nil, fmt.Errorf("clearing an earlier cluster away: %w", err)
	}
	if err := u.start(ctx, programs); err != nil {
		return nil, fmt.Errorf("starting the cluster (logs in %s and %s): %w",
			u.logDir(), filepath.Join(o.Dir, "nodes", "*", "var", "log"), err)
	}
	return newCluster(o, u.state), nil
}

// build makes sure that all programs are in the cache.
func (u *upper) build(ctx context.Context) (map[string]string, error) {
	source, err := sourceDir(ctx)
	if err != nil {
		return nil, err
	}
	b := builder{source: source, cache: u.opts.Cache, log: u.log}
	u.versions = make(map[string]string)
	for _, c := range components() {
		if u.versions[c.Name], err = b.version(c); err != nil {
			return nil, err
		}
	}
	return b.all(ctx)
}

// alreadyUp compares what runs with what is wanted.
func (u *upper) alreadyUp(programs map[string]string) (bool, error) {
	s, err := loadState(u.opts.Dir)
	if errors.Is(err, errNoCluster) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	u.state = s
	switch {
	case !s.running(bootID()):
		u.log.Info("an earlier cluster is incomplete; starting afresh", "ready", s.Ready, "ended", s.dead())
	case s.Shape != u.opts.shape() || s.Net != u.opts.Net:
		u.log.Info("a cluster of another shape runs; starting afresh", "runs", fmt.Sprintf("%+v", s.Shape), "wanted", fmt.Sprintf("%+v", u.opts.shape()))
	case !maps.Equal(s.Programs, programs):
		u.log.Info("the cluster's programs have changed; starting afresh")
	default:
		return true, nil
	}
	return false, nil
}

func (u *upper) logDir() string { return filepath.Join(u.opts.Dir, "log") }

// program is the path of a built program.
func (u *upper) program(component, name string) string {
	return filepath.Join(u.state.Programs[component], name)
}

// start brings everything up from nothing. What does not depend on each other
// runs at the same time: images are loaded while the API server starts.
func (u *upper) start(ctx context.Context, programs map[string]string) error {
	if err := u.prepare(ctx, programs); err != nil {
		return err
	}
	defer u.kube.close()
	for _, n := range u.nodes {
		if err := u.startNode(n); err != nil {
			return err
		}
	}
	if err := u.startAPI(); err != nil {
		return err
	}
	both, parallel := errgroup.WithContext(ctx)
	both.Go(func() error { return u.loadBaseImages(parallel) })
	both.Go(func() error {
		return u.wait(parallel, "the API server", 0, u.kube.ready)
	})
	if err := both.Wait(); err != nil {
		return err
	}
	u.log.Info("the control plane answers", "after", u.elapsed())
	if err := u.startControllers(); err != nil {
		return err
	}
	for _, n := range u.nodes {
		if err := u.releaseNode(n); err != nil {
			return err
		}
	}
	if err := u.populate(ctx); err != nil {
		return err
	}
	u.state.Ready = true
	if err := u.state.save(); err != nil {
		return err
	}
	u.log.Info("up", "after", u.elapsed())
	return nil
}

func (u *upper) elapsed() time.Duration { return time.Since(u.began).Round(100 * time.Millisecond) }

// prepare makes everything that is not a process: state, certificates,
// network, files of the nodes.
func (u *upper) prepare(ctx context.Context, programs map[string]string) error {
	if err := checkRange(u.plan); err != nil {
		return err
	}
	var err error
	if u.cgroups, err = machineCgroups(); err != nil {
		return err
	}
	if err := os.MkdirAll(u.logDir(), 0o700); err != nil {
		return err
	}
	sysctls := readSysctls(kubeletSysctls)
	u.state = &state{
		path: filepath.Join(u.opts.Dir, stateFile), Name: u.opts.Name, Net: u.opts.Net, Boot: bootID(),
		Shape: u.opts.shape(), Programs: programs, Sysctls: sysctls, Cgroups: u.cgroups.dirs(u.plan.cgroup()),
	}
	if err := u.state.save(); err != nil {
		return err
	}
	raiseLimits(sysctls)
	if u.pki, err = newPKI(filepath.Join(u.opts.Dir, "pki"), u.plan); err != nil {
		return err
	}
	if u.kube, err = newKube(u.plan.apiURL(), u.pki.dir); err != nil {
		return err
	}
	if err := u.writeKubeconfig(); err != nil {
		return err
	}
	net := network{u.plan, u.state}
	if err := net.create(ctx); err != nil {
		return fmt.Errorf("making the cluster's network: %w", err)
	}
	if err := net.addNodes(ctx, u.nodes); err != nil {
		return fmt.Errorf("making the nodes' network: %w", err)
	}
	for _, n := range u.nodes {
		if err := u.prepareNode(n); err != nil {
			return fmt.Errorf("preparing %s: %w", n.Name, err)
		}
	}
	return nil
}

// writeKubeconfig writes the administrator's, readable to whoever called sudo.
func (u *upper) writeKubeconfig() error {
	path := filepath.Join(u.opts.Dir, kubeconfigFile)
	if err := u.pki.kubeconfig(path, "admin", u.plan.apiURL()); err != nil {
		return err
	}
	caller := os.Getenv("SUDO_UID")
	if caller == "" || caller == "0" {
		return nil
	}
	uid, err := strconv.Atoi(caller)
	if err != nil {
		return fmt.Errorf("SUDO_UID: found %q, wanted a number", caller)
	}
	return errors.Join(os.Chown(path, uid, -1), os.Chmod(u.opts.Dir, 0o711))
}

// wait waits for a check to pass, with more patience for more things, and gives
// up at once when a process of the cluster has ended.
func (u *upper) wait(ctx context.Context, what string, things int, check func(context.Context) error) error {
	return until(ctx, what, patience+time.Duration(things)*100*time.Millisecond, func(ctx context.Context) error {
		err := check(ctx)
		if dead := u.state.dead(); err != nil && len(dead) > 0 {
			return &finalError{fmt.Errorf("%s ended: %s", dead[0], lastLine(filepath.Join(u.logDir(), dead[0]+".log")))}
		}
		return err
	})
}

// loadBaseImages makes the images of the cluster's own pods and loads them
// into every node.
func (u *upper) loadBaseImages(ctx context.Context) error {
	data := newManifestData(u.plan, u.versions)
	toolbox := u.program("toolbox", "toolbox")
	archive := filepath.Join(u.opts.Dir, "images.tar")
	// Two images of one program, so that the metrics of other containers never
	// name the pause image.
	if err := saveArchive(archive, []Image{
		{Tag: pauseImage, Binary: toolbox, Name: "pause"},
		{Tag: toolboxImage, Binary: toolbox},
		{Tag: coreDNSImage, Binary: u.program("coredns", "coredns")},
		{Tag: data.KSM, Binary: u.program("kube-state-metrics", "kube-state-metrics")},
		{Tag: data.NodeExporter, Binary: u.program("node_exporter", "node_exporter")},
	}); err != nil {
		return err
	}
	defer func() { _ = os.Remove(archive) }()
	loading, ctx := errgroup.WithContext(ctx)
	for _, n := range u.nodes {
		loading.Go(func() error {
			if err := u.wait(ctx, "containerd on "+n.Name, 0, u.state.runtimeReady(n.Name)); err != nil {
				return err
			}
			return u.state.loadArchive(ctx, n.Name, archive)
		})
	}
	return loading.Wait()
}

// populate fills the running API server: cluster services, nodes, addons.
func (u *upper) populate(ctx context.Context) error {
	data := newManifestData(u.plan, u.versions)
	// Pods of a namespace are refused until its service account is there, and
	// then retried ever more slowly.
	if err := u.wait(ctx, "the default service account", 0, func(ctx context.Context) error {
		_, err := u.kube.do(ctx, http.MethodGet, "/api/v1/namespaces/default/serviceaccounts/default", "", nil)
		return err
	}); err != nil {
		return err
	}
	if err := u.applyManifest(ctx, "base", data); err != nil {
		return err
	}
	for _, n := range u.nodes {
		if err := u.register(ctx, n); err != nil {
			return err
		}
	}
	if err := u.wait(ctx, "nodes", 0, u.kube.nodesReady("!type", len(u.nodes))); err != nil {
		return err
	}
	u.log.Info("nodes are ready", "after", u.elapsed())
	if !u.opts.NoAddons {
		for _, a := range addons {
			if err := u.applyManifest(ctx, a.manifest, data); err != nil {
				return err
			}
		}
	}
	if u.opts.FakeNodes > 0 {
		if err := u.simulate(ctx); err != nil {
			return err
		}
	}
	workloads := []string{"/apis/apps/v1/namespaces/kube-system/deployments/coredns"}
	if !u.opts.NoAddons {
		for _, a := range addons {
			workloads = append(workloads, a.workload)
		}
	}
	for _, w := range workloads {
		if err := u.wait(ctx, filepath.Base(w), 0, u.kube.rolledOut(w)); err != nil {
			return err
		}
	}
	return nil
}

func (u *upper) applyManifest(ctx context.Context, name string, data manifestData) error {
	text, err := manifest(name, data)
	if err != nil {
		return err
	}
	return u.kube.apply(ctx, text)
}

// register waits for a node to appear and notes which pod addresses it gives
// out; no controller allocates them here.
func (u *upper) register(ctx context.Context, n node) error {
	path := "/api/v1/nodes/" + n.Name
	patch := fmt.Appendf(nil, `{"spec":{"podCIDR":%q,"podCIDRs":[%[1]q]}}`, n.Pods.String())
	return u.wait(ctx, n.Name+" to register", 0, func(ctx context.Context) error {
		_, err := u.kube.do(ctx, http.MethodPatch, path, "application/strategic-merge-patch+json", patch)
		return err
	})
}
