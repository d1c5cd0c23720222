package operator

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/mangru/mangru/internal/otelconf"
)

// verdict is what is wrong and what is odd about a collector.
type verdict struct {
	errors   []string
	warnings []string
}

func (v *verdict) bad(format string, args ...any) {
	v.errors = append(v.errors, fmt.Sprintf(format, args...))
}

func (v *verdict) odd(format string, args ...any) {
	v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
}

// validate checks what the schema cannot. before is nil for a new object.
func (r renderer) validate(c, before *Collector) verdict {
	var v verdict
	s := &c.Spec
	if before != nil && before.mode() != c.mode() {
		v.bad("spec.mode: found %q, it was %q: the mode of a collector cannot change, make another", c.mode(), before.mode())
	}
	mode := c.mode()
	if len(s.Claims) > 0 && mode != modeStatefulSet {
		v.bad("spec.volumeClaimTemplates: allowed in mode statefulset only, this is %s", mode)
	}
	if s.ClaimRetention != nil && mode != modeStatefulSet {
		v.bad("spec.persistentVolumeClaimRetentionPolicy: allowed in mode statefulset only, this is %s", mode)
	}
	if mode == modeSidecar {
		for field, set := range map[string]bool{
			"tolerations": len(s.Tolerations) > 0, "affinity": s.Affinity != nil, "priorityClassName": s.PriorityClassName != "", "additionalContainers": len(s.AdditionalContainers) > 0,
		} {
			if set {
				v.bad("spec.%s: not allowed in mode sidecar: the pod is somebody else's", field)
			}
		}
	}
	if t := s.TargetAllocator; t != nil && t.Enabled {
		switch {
		case mode != modeStatefulSet && mode != modeDaemonSet:
			v.bad("spec.targetAllocator: allowed in modes statefulset and daemonset, this is %s", mode)
		case mode == modeDaemonSet && t.AllocationStrategy != "" && t.AllocationStrategy != "per-node":
			v.bad("spec.targetAllocator.allocationStrategy: found %q, in mode daemonset only per-node is allowed", t.AllocationStrategy)
		}
	}
	for i, p := range s.Ports {
		at := fmt.Sprintf("spec.ports[%d]", i)
		for _, e := range validation.IsValidPortName(p.Name) {
			v.bad("%s.name: found %q, %s", at, p.Name, e)
		}
		for _, e := range validation.IsValidPortNum(int(p.Port)) {
			v.bad("%s.port: found %d, %s", at, p.Port, e)
		}
	}
	validateScaler(c, &v)
	if c.Annotations[notYAML] != "" {
		v.bad("spec.config: is not YAML: %s", c.Annotations[notYAML])
		return v
	}
	r.validateConfig(c, &v)
	slices.Sort(v.errors)
	return v
}

func validateScaler(c *Collector, v *verdict) {
	a := c.Spec.Autoscaler
	if a == nil {
		return
	}
	if a.MaxReplicas == nil {
		if a.MinReplicas != nil || a.TargetCPUUtilization != nil || a.TargetMemoryUtilization != nil {
			v.bad("spec.autoscaler.maxReplicas: required")
		}
		return
	}
	if *a.MaxReplicas < 1 {
		v.bad("spec.autoscaler.maxReplicas: found %d, allowed are 1 and more", *a.MaxReplicas)
	}
	if a.MinReplicas != nil && (*a.MinReplicas < 1 || *a.MinReplicas > *a.MaxReplicas) {
		v.bad("spec.autoscaler.minReplicas: found %d, allowed are 1 to maxReplicas (%d)", *a.MinReplicas, *a.MaxReplicas)
	}
	if c.Spec.Replicas != nil && *c.Spec.Replicas > *a.MaxReplicas {
		v.bad("spec.replicas: found %d, allowed are up to spec.autoscaler.maxReplicas (%d)", *c.Spec.Replicas, *a.MaxReplicas)
	}
	for field, n := range map[string]*int32{"targetCPUUtilization": a.TargetCPUUtilization, "targetMemoryUtilization": a.TargetMemoryUtilization} {
		if n != nil && *n < 1 {
			v.bad("spec.autoscaler.%s: found %d, allowed are 1 and more", field, *n)
		}
	}
	if c.mode() == modeDaemonSet || c.mode() == modeSidecar {
		v.bad("spec.autoscaler: there is nothing to scale in mode %s", c.mode())
	}
}

// validateConfig reads the configuration as our collector will. For other
// images that is none of our business: they have other components.
func (r renderer) validateConfig(c *Collector, v *verdict) {
	for _, id := range emptyComponents(c) {
		v.odd("%s is empty, and so has its defaults; if a block below it was meant, check the indentation", id)
	}
	if c.Spec.Image != "" && c.Spec.Image != r.image {
		return
	}
	text, err := configText(c)
	if err != nil {
		v.bad("spec.config: %s", err)
		return
	}
	unknown := false
	gates, _ := c.Spec.Args["feature-gates"]
	loaded, err := otelconf.Load(otelconf.Options{
		Files: []string{configFile}, FeatureGates: strings.FieldsFunc(gates, func(r rune) bool { return r == ',' }),
		SkipUnsupportedSignals: has(c.Spec.Args, "skip-unsupported-signals"),
		OwnEndpoint:            has(c.Spec.Args, "remote-write"),
		ReadFile: func(name string) ([]byte, error) {
			if name == configFile {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		},
		Fetch: func(string) ([]byte, error) { return nil, errors.New("configurations of collectors are not fetched") },
		Getenv: func(name string) (string, bool) {
			for _, e := range c.Spec.Env {
				if e.Name == name && e.ValueFrom == nil {
					return e.Value, true
				}
			}
			unknown = strings.Contains(text, "${")
			return "", false
		},
	})
	switch {
	case err == nil:
		for _, w := range loaded.Warnings {
			v.odd("%s: %s", w.Where, w.Text)
		}
	case unknown:
		v.odd("spec.config: takes variables from the environment, so it was not checked in full: %s", err)
	default:
		v.bad("spec.config: %s", err)
	}
}

func has(args map[string]string, name string) bool {
	value, ok := args[name]
	return ok && value != "false"
}

// emptyComponents are those without settings.
func emptyComponents(c *Collector) (out []string) {
	for section, all := range map[string]Free{"receivers": c.Spec.Config.Receivers, "exporters": c.Spec.Config.Exporters} {
		for id, body := range all {
			if kind, _, _ := strings.Cut(id, "/"); kind == "debug" || kind == "otlp" || kind == "nop" {
				continue
			}
			if m, ok := body.(map[string]any); body == nil || ok && len(m) == 0 {
				out = append(out, "spec.config."+section+"."+id)
			}
		}
	}
	slices.Sort(out)
	return out
}
