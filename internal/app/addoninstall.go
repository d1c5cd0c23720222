package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-openapi/spec"
	"github.com/go-openapi/strfmt"
	"github.com/go-openapi/validate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/mangru/mangru/deploy"
	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/install"
	"github.com/mangru/mangru/internal/server/addon"
	"github.com/mangru/mangru/internal/server/cluster"
)

// Where an add-on is, in a cluster.
const (
	addonNamespace = "opentelemetry-operator-system"
	addonPatience  = 3 * time.Minute // until what is installed has to be ready
)

// addonInstaller installs the chart's operator as an add-on of a cluster.
type addonInstaller struct {
	cfg ServerAddons

	mu    sync.Mutex
	known map[string]*addonCluster // by kubeconfig
}

// addonCluster is a cluster as it is reached by a kubeconfig of some text.
type addonCluster struct {
	*install.Cluster
	text   []byte
	config *rest.Config
}

// addonValues is what an add-on's configuration can say.
type addonValues struct {
	ReplicaCount int               `json:"replicaCount,omitempty"`
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	Tolerations  []any             `json:"tolerations,omitempty"`
	Affinity     map[string]any    `json:"affinity,omitempty"`
	Manager      struct {
		Resources map[string]any `json:"resources,omitempty"`
	} `json:"manager"`
}

// CheckConfiguration implements addon.Installer.
func (*addonInstaller) CheckConfiguration(text string) error {
	_, err := parseAddonValues(text)
	return err
}

func parseAddonValues(text string) (addonValues, error) {
	var v addonValues
	if strings.TrimSpace(text) == "" {
		return v, nil
	}
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return v, fmt.Errorf("is neither YAML nor JSON of an object: %w", err)
	}
	schema := &spec.Schema{}
	if err := schema.UnmarshalJSON([]byte(addon.ConfigurationSchema)); err != nil {
		return v, err
	}
	if err := validate.AgainstSchema(schema, doc, strfmt.Default); err != nil {
		return v, err
	}
	return v, yaml.UnmarshalStrict([]byte(text), &v)
}

func (a *addonInstaller) values(v addonValues) ([]byte, error) {
	off := map[string]any{"enabled": false}
	operator := map[string]any{"enabled": true}
	if v.ReplicaCount > 0 {
		operator["replicas"] = v.ReplicaCount
	}
	if v.NodeSelector != nil {
		operator["nodeSelector"] = v.NodeSelector
	}
	if v.Tolerations != nil {
		operator["tolerations"] = v.Tolerations
	}
	if v.Affinity != nil {
		operator["affinity"] = v.Affinity
	}
	if v.Manager.Resources != nil {
		operator["resources"] = v.Manager.Resources
	}
	return json.Marshal(map[string]any{"collector": off, "kubeStateMetrics": off, "nodeExporter": off, "doctor": off, "operator": operator})
}

// render makes the add-on's objects.
func (a *addonInstaller) render(ad *addon.Addon, config *rest.Config) (*install.Rendered, error) {
	v, err := parseAddonValues(ad.Configuration)
	if err != nil {
		return nil, err
	}
	text, err := a.values(v)
	if err != nil {
		return nil, err
	}
	req := install.Request{Release: addon.Name, Namespace: addonNamespace, Values: []install.Values{{Name: "configurationValues", Text: text}}, Version: version}
	if a.cfg.Image != "" {
		req.Set = imageValues(a.cfg.Image)
	}
	r, err := install.Render(deploy.Chart(), req, config)
	if err != nil || ad.RoleARN == "" {
		return r, err
	}
	for _, o := range r.Objects {
		if o.GetKind() == "ServiceAccount" {
			annotations := maps.Clone(o.GetAnnotations())
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations["eks.amazonaws.com/role-arn"] = ad.RoleARN
			o.SetAnnotations(annotations)
		}
	}
	return r, nil
}

// reach returns the cluster of an add-on. A name alone is that of a cluster of
// the server's own account: other accounts may give theirs the same name, and
// say of it what they like.
func (a *addonInstaller) reach(c *cluster.Cluster) (*addonCluster, error) {
	name, own := c.Name, c.AccountID == iam.DefaultAccount
	file, ok := a.cfg.Kubeconfigs[c.ARN()]
	if !own {
		name = c.ARN()
	} else if !ok {
		file, ok = a.cfg.Kubeconfigs[c.Name]
	}
	if !ok && own {
		file = a.cfg.watched
	}
	unreachable := func(format string, args ...any) error {
		return &addon.Issue{Code: addon.ClusterUnreachable, Message: fmt.Sprintf(format, args...)}
	}
	if file == "" {
		return nil, unreachable("The server has no credentials for cluster %s: name a kubeconfig in addons.kubeconfigs.%s of its configuration.", c.Name, name)
	}
	k, err := a.open(file)
	if err != nil {
		return nil, unreachable("The kubeconfig of cluster %s cannot be used: %v", c.Name, err)
	}
	if !ok && strings.TrimSuffix(k.config.Host, "/") != strings.TrimSuffix(c.Endpoint, "/") {
		return nil, unreachable("The server has no credentials for cluster %s at %s, only for %s: name a kubeconfig in addons.kubeconfigs.%s of its configuration.", c.Name, c.Endpoint, k.config.Host, name)
	}
	return k, nil
}

// open returns what a kubeconfig leads to. As long as it does not change that is
// the same client, which knows the cluster's kinds already.
func (a *addonInstaller) open(file string) (*addonCluster, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if k := a.known[file]; k != nil && bytes.Equal(k.text, text) {
		return k, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, err
	}
	config.Timeout, config.UserAgent = callTimeout, "mangru/"+version
	k, err := install.NewCluster(config)
	if err != nil {
		return nil, err
	}
	if a.known == nil {
		a.known = make(map[string]*addonCluster)
	}
	a.known[file] = &addonCluster{k, text, config}
	return a.known[file], nil
}

// Install implements addon.Installer.
func (a *addonInstaller) Install(ctx context.Context, ad *addon.Addon) error {
	k, err := a.reach(ad.Cluster)
	if err != nil {
		return err
	}
	r, err := a.render(ad, k.config)
	if err != nil {
		return addonIssue(err)
	}
	if ad.Conflicts != addon.Overwrite {
		found, err := k.Conflicts(ctx, addonNamespace, addon.Name, r)
		if err != nil {
			return addonIssue(err)
		}
		if len(found) > 0 {
			return conflictIssue(found)
		}
	}
	if err := k.Install(ctx, addonNamespace, addon.Name, r); err != nil {
		return addonIssue(err)
	}
	wait, cancel := context.WithTimeoutCause(ctx, addonPatience, fmt.Errorf("not within %s", addonPatience))
	defer cancel()
	if err := k.Wait(wait, r); err != nil {
		if ctx.Err() == nil && wait.Err() != nil {
			return &addon.Issue{Code: addon.InsufficientNumberOfReplicas, Message: err.Error()}
		}
		return addonIssue(err)
	}
	return nil
}

func conflictIssue(found []install.Ref) error {
	names := refNames(found)
	return &addon.Issue{
		Code: addon.ConfigurationConflict, ResourceIDs: names,
		Message: fmt.Sprintf("Conflicts found when trying to apply. Will not continue due to resolve conflicts mode. There already: %s. resolveConflicts OVERWRITE takes them over.", strings.Join(names[:min(len(names), 10)], ", ")),
	}
}

func refNames(refs []install.Ref) (out []string) {
	for _, r := range refs {
		out = append(out, r.String())
	}
	slices.Sort(out)
	return out
}

// Remove implements addon.Installer.
func (a *addonInstaller) Remove(ctx context.Context, ad *addon.Addon) error {
	k, err := a.reach(ad.Cluster)
	if err != nil {
		return err
	}
	there, err := k.IsInstalled(ctx, addonNamespace, addon.Name)
	if err != nil {
		return addonIssue(err)
	}
	if !there {
		return nil
	}
	err = k.Uninstall(ctx, addonNamespace, addon.Name, false)
	var usage *install.UsageError
	if errors.As(err, &usage) {
		return &addon.Issue{Code: addon.ConfigurationConflict, Message: err.Error()}
	}
	return addonIssue(err)
}

// Check implements addon.Installer.
func (a *addonInstaller) Check(ctx context.Context, ad *addon.Addon) error {
	k, err := a.reach(ad.Cluster)
	if err != nil {
		return err
	}
	h, err := k.Check(ctx, addonNamespace, addon.Name)
	if err != nil {
		return addonIssue(err)
	}
	var all []error
	if len(h.Missing) > 0 {
		names := refNames(h.Missing)
		all = append(all, &addon.Issue{Code: addon.K8sResourceNotFound, Message: "Somebody has removed " + strings.Join(names, ", ") + ". Updating the add-on brings it back.", ResourceIDs: names})
	}
	for ref, why := range h.NotReady {
		all = append(all, &addon.Issue{Code: addon.InsufficientNumberOfReplicas, Message: ref.String() + ": " + why, ResourceIDs: []string{ref.String()}})
	}
	slices.SortFunc(all, func(x, y error) int { return strings.Compare(x.Error(), y.Error()) })
	return errors.Join(all...)
}

// addonIssue gives an error of a cluster the code that EKS has for it.
func addonIssue(err error) error {
	if err == nil {
		return nil
	}
	code := addon.InternalFailure
	var unreachable *url.Error
	var network net.Error
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "admission webhook"), apierrors.IsInvalid(err), strings.Contains(err.Error(), "denied the request"):
		code = addon.AdmissionRequestDenied
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		code = addon.AccessDenied
	case apierrors.IsConflict(err):
		code = addon.ConfigurationConflict
	case errors.As(err, &unreachable), errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		code = addon.ClusterUnreachable
	}
	return &addon.Issue{Code: code, Message: err.Error()}
}
