package provision

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// ConfigMaps says which ConfigMaps hold boards: those with a label, whatever its
// value, as the sidecar of Grafana's Helm chart has it.
type ConfigMaps struct {
	Client kubernetes.Interface
	// Label is usually grafana_dashboard. Annotation names the folder, usually
	// grafana_folder: titles with slashes between them.
	Label, Annotation string
	// Namespace is empty for all.
	Namespace string
}

// settle is how long changes are collected before they are written.
const settle = 500 * time.Millisecond

// Watch keeps a workspace's boards as the ConfigMaps have them, until ctx is
// done. While the cluster cannot be reached nothing changes.
func (c ConfigMaps) Watch(ctx context.Context, store Store, ws string, log *slog.Logger) {
	log = log.With("provider", "configmaps")
	wanted, err := labels.Parse(c.Label)
	if err != nil {
		log.Error("not a label of ConfigMaps", "label", c.Label, "err", err)
		return
	}
	factory := informers.NewSharedInformerFactoryWithOptions(c.Client, 0, informers.WithNamespace(c.Namespace),
		informers.WithTweakListOptions(func(o *meta.ListOptions) { o.LabelSelector = c.Label }))
	maps := factory.Core().V1().ConfigMaps()
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	_, err = maps.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() },
	})
	if err != nil {
		log.Error("BUG: ConfigMaps cannot be watched", "err", err)
		return
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), maps.Informer().HasSynced) {
		return
	}
	wake() // without any ConfigMap, boards of former ones go
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settle):
		}
		list, err := maps.Lister().List(wanted)
		if err == nil {
			err = Sync(ctx, store, ws, Set{By: "configmaps", Files: c.files(list)})
		}
		if ctx.Err() == nil {
			said = report(log, said, err)
		}
	}
}

// files lists the boards of ConfigMaps, in an order that stays.
func (c ConfigMaps) files(list []*core.ConfigMap) []File {
	var all []File
	for _, m := range list {
		var folder []string
		for title := range strings.SplitSeq(m.Annotations[c.Annotation], "/") {
			if title = strings.TrimSpace(title); title != "" {
				folder = append(folder, title)
			}
		}
		add := func(key string, text []byte) {
			if strings.HasSuffix(key, ".json") {
				all = append(all, File{Name: m.Namespace + "/" + m.Name + "/" + key, Text: text, Folder: folder})
			}
		}
		for key, text := range m.Data {
			add(key, []byte(text))
		}
		for key, text := range m.BinaryData {
			add(key, text)
		}
	}
	slices.SortFunc(all, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return all
}
