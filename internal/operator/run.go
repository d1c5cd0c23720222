package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// Options say how an operator runs.
type Options struct {
	// Namespace is the operator's own.
	Namespace string
	// Image runs collectors that name none, and is ours.
	Image string
	// Service is the name of the Service that leads to the webhooks.
	Service string
	// Webhooks is the name of both webhook configurations; empty serves none.
	Webhooks string
	// RBAC makes ClusterRoles for collectors that bring no service account.
	RBAC bool
	// LeaderElection lets one replica of several work.
	LeaderElection bool
	// TakeOver runs beside an OpenTelemetry operator that is there.
	TakeOver bool
	// Credentials gives pods the credentials of their service account.
	Credentials bool
	STSEndpoint string
	Region      string

	MetricsAddress string
	ProbeAddress   string
	// PprofAddress serves Go's profiles; empty serves none.
	PprofAddress string
	WebhookHost  string
	WebhookPort  int
	Logger       *slog.Logger
}

// Run runs the operator until ctx ends.
func Run(ctx context.Context, config *rest.Config, o Options) error {
	log := o.Logger
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 100, 200
	if err := stepAside(ctx, config, o); err != nil {
		return err
	}
	m, err := newManager(config, o)
	if err != nil {
		return err
	}
	r := &reconciler{
		client: m.GetClient(), direct: m.GetAPIReader(), render: renderer{image: o.Image, rbac: o.RBAC}, events: m.GetEventRecorder("mangru-operator"),
		log: log.With("component", "collectors"), applied: make(map[string]appliedObject),
		pace: newPacer(time.Now),
	}
	if err := r.setup(m); err != nil {
		return err
	}
	if err := serveWebhooks(m, o, r.render); err != nil {
		return err
	}
	log.Info("operator starts", "namespace", o.Namespace, "image", o.Image, "webhooks", o.Webhooks)
	if err := m.Start(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// newManager returns a manager that keeps in memory only what the operator owns.
func newManager(config *rest.Config, o Options) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{labelManaged: managedBy}), Transform: cache.TransformStripManagedFields()}
	byObject := map[client.Object]cache.ByObject{}
	for _, kind := range append(ownedKinds(), &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}) {
		byObject[kind] = ours
	}
	// The text of configurations is kept by the API server; names are enough here.
	configs := ours
	configs.Transform = func(v any) (any, error) {
		if m, ok := v.(*corev1.ConfigMap); ok {
			m.Data, m.BinaryData, m.ManagedFields = nil, nil, nil
		}
		return v, nil
	}
	byObject[&corev1.ConfigMap{}] = configs
	return ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, LeaderElection: o.LeaderElection, LeaderElectionID: "mangru-operator", LeaderElectionNamespace: o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddress},
		HealthProbeBindAddress:        o.ProbeAddress,
		PprofBindAddress:              o.PprofAddress,
		Cache:                         cache.Options{ByObject: byObject, DefaultTransform: cache.TransformStripManagedFields()},
		Client: client.Options{Cache: &client.CacheOptions{
			Unstructured: true,
			// Single objects, by name: no right to list them is needed.
			DisableFor: []client.Object{
				&corev1.Secret{}, &corev1.Namespace{}, &apiextensionsv1.CustomResourceDefinition{},
				&admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfiguration{},
			},
		}},
		WebhookServer: webhook.NewServer(webhook.Options{Host: o.WebhookHost, Port: o.WebhookPort}),
	})
}

// ownedKinds are the kinds of a collector's objects that live in its namespace.
func ownedKinds() []client.Object {
	return []client.Object{
		&appsv1.Deployment{}, &appsv1.DaemonSet{}, &appsv1.StatefulSet{}, &corev1.Service{}, &corev1.ServiceAccount{},
		&autoscalingv2.HorizontalPodAutoscaler{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{}, &networkingv1.Ingress{},
	}
}

// setup has the reconciler hear of collectors, and of what happens to their objects.
func (r *reconciler) setup(m manager.Manager) error {
	collector := &unstructured.Unstructured{}
	collector.SetGroupVersionKind(GVK)
	// What only the status says is the operator's own doing.
	asked := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}, deletionChanged{})
	b := ctrl.NewControllerManagedBy(m).Named("opentelemetrycollector").For(collector, builder.WithPredicates(asked)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4})
	for _, kind := range append(ownedKinds(), &corev1.ConfigMap{}) {
		b = b.Owns(kind)
	}
	return b.Complete(r)
}

// deletionChanged passes updates that begin a deletion.
type deletionChanged struct{ predicate.Funcs }

// Update implements predicate.Predicate.
func (deletionChanged) Update(e event.UpdateEvent) bool {
	return e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
}

// serveWebhooks serves them with certificates of our own.
func serveWebhooks(m manager.Manager, o Options, r renderer) error {
	check := func(*http.Request) error { return nil }
	if o.Webhooks != "" {
		p := &publisher{
			client: m.GetClient(), log: o.Logger.With("component", "certificates"), now: time.Now,
			secret:   client.ObjectKey{Namespace: o.Namespace, Name: o.Service + "-certificate"},
			names:    []string{o.Service + "." + o.Namespace + ".svc", o.Service + "." + o.Namespace + ".svc.cluster.local"},
			mutating: o.Webhooks, validating: o.Webhooks, definition: "opentelemetrycollectors." + Group,
		}
		server := m.GetWebhookServer()
		s, ok := server.(*webhook.DefaultServer)
		if !ok {
			return fmt.Errorf("the webhook server is a %T", server)
		}
		s.Options.TLSOpts = append(s.Options.TLSOpts, func(c *tls.Config) {
			c.MinVersion = tls.VersionTLS12
			c.GetCertificate = p.certificate
		})
		w := &webhooks{render: r, objects: m.GetClient(), log: func(msg string, args ...any) { o.Logger.Warn(msg, args...) }}
		if o.Credentials {
			w.credentials = &credentials{accounts: m.GetAPIReader(), stsEndpoint: o.STSEndpoint, region: o.Region}
		}
		w.register(s.Register)
		if err := m.Add(p); err != nil {
			return err
		}
		check = func(req *http.Request) error {
			if !p.ready.Load() {
				return errors.New("the API server does not know the certificate of the webhooks yet")
			}
			return s.StartedChecker()(req)
		}
	}
	return errors.Join(m.AddReadyzCheck("webhooks", check), m.AddHealthzCheck("alive", func(*http.Request) error { return nil }))
}

// stepAside refuses to work beside another operator of the same kind.
func stepAside(ctx context.Context, config *rest.Config, o Options) error {
	if o.TakeOver {
		return nil
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DeploymentList"})
	if err := c.List(ctx, list, client.MatchingLabels{labelName: "opentelemetry-operator"}); err != nil {
		return fmt.Errorf("look for another operator: %w", err)
	}
	for _, d := range list.Items {
		return fmt.Errorf("deployment %s/%s runs OpenTelemetryCollector objects already, and two operators would undo each other's work: remove it, or give --take-over once it no longer runs", d.Namespace, d.Name)
	}
	return nil
}
