package operator

import (
	"encoding/json"
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// alphaCollector is version v1alpha1: the same, but for these fields.
type alphaCollector struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              alphaSpec `json:"spec,omitempty"`
	Status            Status    `json:"status,omitempty"`
}

type alphaSpec struct {
	alphaShared    `json:",inline"`
	Config         string                          `json:"config,omitempty"`
	MinReplicas    *int32                          `json:"minReplicas,omitempty"`
	MaxReplicas    *int32                          `json:"maxReplicas,omitempty"`
	UpdateStrategy *appsv1.DaemonSetUpdateStrategy `json:"updateStrategy,omitempty"`
}

// alphaShared are the fields that both versions have.
type alphaShared Spec

// textAnnotation keeps the configuration of a v1alpha1 object as it was written:
// comments and order would be lost, and text that is no YAML altogether.
const textAnnotation = "mangru.io/v1alpha1-config"

// notYAML marks a configuration that could not be read.
const notYAML = "mangru.io/v1alpha1-config-error"

// configKeys are those that v1beta1 has a place for.
var configKeys = []string{"receivers", "exporters", "processors", "connectors", "extensions", "service"}

// convert turns an object into another version. It never fails for what is in
// a configuration: an object that is stored must stay readable.
func convert(in map[string]any, version string) (map[string]any, error) {
	out := runtime.DeepCopyJSON(in)
	from, _ := out["apiVersion"].(string)
	to := Group + "/" + version
	if version != versionAlpha && version != versionBeta || from != Group+"/"+versionAlpha && from != Group+"/"+versionBeta {
		return nil, fmt.Errorf("conversion from %q to %q: known are %s/%s and %s/%s", from, to, Group, versionAlpha, Group, versionBeta)
	}
	if from == to {
		return out, nil
	}
	out["apiVersion"] = to
	spec, ok := out["spec"].(map[string]any)
	if !ok {
		return out, nil
	}
	if version == versionBeta {
		toBeta(out, spec)
		return out, nil
	}
	return out, toAlpha(out, spec)
}

func toBeta(o, spec map[string]any) {
	text, _ := spec["config"].(string)
	config := map[string]any{}
	note := ""
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		config, note = map[string]any{}, err.Error()
	}
	kept := map[string]any{"receivers": map[string]any{}, "exporters": map[string]any{}, "service": map[string]any{"pipelines": map[string]any{}}}
	for _, key := range configKeys {
		if v, ok := config[key].(map[string]any); ok {
			kept[key] = orEmpty(v)
		}
	}
	if s, ok := kept["service"].(map[string]any); ok && s["pipelines"] == nil {
		s["pipelines"] = map[string]any{}
	}
	spec["config"] = kept
	setAnnotation(o, textAnnotation, text)
	setAnnotation(o, notYAML, note)
	rename(spec, "updateStrategy", "daemonSetUpdateStrategy")
	for _, key := range []string{"minReplicas", "maxReplicas"} {
		v, ok := spec[key]
		delete(spec, key)
		if !ok {
			continue
		}
		scaler, _ := spec["autoscaler"].(map[string]any)
		if scaler == nil {
			scaler = map[string]any{}
		}
		if scaler[key] == nil {
			scaler[key] = v
		}
		spec["autoscaler"] = scaler
	}
	eachSelector(spec, func(cr map[string]any, key string) {
		if m, ok := cr[key].(map[string]any); ok && m["matchLabels"] == nil && m["matchExpressions"] == nil {
			if len(m) == 0 {
				delete(cr, key) // an empty map chose everything by choosing nothing
				cr[key] = map[string]any{}
				return
			}
			cr[key] = map[string]any{"matchLabels": m}
		}
	})
}

// orEmpty writes an empty component as {}, for the API server drops nulls.
func orEmpty(v map[string]any) map[string]any {
	for name, c := range v {
		if c == nil {
			v[name] = map[string]any{}
		}
	}
	return v
}

func toAlpha(o, spec map[string]any) error {
	config, _ := spec["config"].(map[string]any)
	text := annotation(o, textAnnotation)
	if text == "" || !sameConfig(text, config) && annotation(o, notYAML) == "" {
		b, err := yaml.Marshal(config)
		if err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
		text = string(b)
	}
	spec["config"] = text
	setAnnotation(o, textAnnotation, "")
	setAnnotation(o, notYAML, "")
	rename(spec, "daemonSetUpdateStrategy", "updateStrategy")
	eachSelector(spec, func(cr map[string]any, key string) {
		if m, ok := cr[key].(map[string]any); ok {
			if labels, ok := m["matchLabels"].(map[string]any); ok && m["matchExpressions"] == nil {
				cr[key] = maps.Clone(labels)
			}
		}
	})
	return nil
}

// sameConfig tells whether a text still says what the object does.
func sameConfig(text string, config map[string]any) bool {
	o := map[string]any{"apiVersion": Group + "/" + versionAlpha, "spec": map[string]any{"config": text}}
	toBeta(o, o["spec"].(map[string]any)) //nolint:forcetypeassert // just made
	a, err1 := json.Marshal(o["spec"].(map[string]any)["config"])
	b, err2 := json.Marshal(config)
	return err1 == nil && err2 == nil && string(a) == string(b)
}

// eachSelector visits the selectors of Prometheus objects, which v1alpha1 has as
// plain maps.
func eachSelector(spec map[string]any, visit func(cr map[string]any, key string)) {
	ta, _ := spec["targetAllocator"].(map[string]any)
	cr, _ := ta["prometheusCR"].(map[string]any)
	for _, key := range []string{"serviceMonitorSelector", "podMonitorSelector"} {
		if cr[key] != nil {
			visit(cr, key)
		}
	}
}

func rename(m map[string]any, from, to string) {
	if v, ok := m[from]; ok {
		m[to] = v
		delete(m, from)
	}
}

func annotation(o map[string]any, key string) string {
	meta, _ := o["metadata"].(map[string]any)
	all, _ := meta["annotations"].(map[string]any)
	text, _ := all[key].(string)
	return text
}

// setAnnotation sets an annotation, or takes it away where the text is empty.
func setAnnotation(o map[string]any, key, text string) {
	meta, _ := o["metadata"].(map[string]any)
	if meta == nil {
		return
	}
	all, _ := meta["annotations"].(map[string]any)
	if text == "" {
		delete(all, key)
		if all != nil && len(all) == 0 {
			delete(meta, "annotations")
		}
		return
	}
	if all == nil {
		all = map[string]any{}
		meta["annotations"] = all
	}
	all[key] = text
}
