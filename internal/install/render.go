// Package install puts a release of the Helm chart into a cluster, watches it
// become ready, and takes it away again. It needs no Helm on the machine.
package install

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/go-openapi/spec"
	"github.com/go-openapi/strfmt"
	"github.com/go-openapi/validate"
	helmchart "helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// UsageError says that what was asked for cannot be.
type UsageError struct{ Err error }

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

func usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// Request says what to install.
type Request struct {
	Release, Namespace string
	// Preset is a file of the chart's folder presets; empty means none.
	Preset string
	// Values are YAML texts, later ones laid over earlier ones and over the preset.
	Values []Values
	// Set is Helm's a.b=c, laid over everything; SetString too, its values being
	// strings whatever they look like.
	Set, SetString []string
	// Version is the image's tag where the values name none.
	Version string
}

// Values is a YAML text with the name by which errors call it.
type Values struct {
	Name string
	Text []byte
}

// Rendered is what a release consists of.
type Rendered struct {
	// Objects are in the order in which they have to be applied.
	Objects []*unstructured.Unstructured
	// Notes tell a person what to do next.
	Notes string
}

// Names are part of other names and of labels.
var releaseName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// Render renders a chart. What its templates look up is asked with the
// configuration; nil answers that there is nothing.
func Render(files fs.FS, req Request, config *rest.Config) (*Rendered, error) {
	if !releaseName.MatchString(req.Release) {
		return nil, usagef("release: found %q, allowed are up to 40 letters, digits and dashes", req.Release)
	}
	loaded, err := load(files)
	if err != nil {
		return nil, err
	}
	if req.Version != "" {
		loaded.Metadata.AppVersion = req.Version
	}
	values, err := req.values(files)
	if err != nil {
		return nil, err
	}
	top, err := renderValues(loaded, values, req)
	if err != nil {
		return nil, err
	}
	var texts map[string]string
	if config == nil {
		texts, err = engine.Render(loaded, top)
	} else {
		texts, err = engine.RenderWithClient(loaded, top, config)
	}
	if err != nil {
		return nil, &UsageError{fmt.Errorf("the chart cannot be rendered with these values: %w", err)}
	}
	return collect(texts)
}

// renderValues is what templates see. Helm's own function for it brings a
// validator of schemas that every process of the program would pay memory for.
func renderValues(c *chart.Chart, given map[string]any, req Request) (common.Values, error) {
	values := dropNulls(loader.MergeMaps(c.Values, given))
	if err := checkSchema(c.Schema, values); err != nil {
		return nil, &UsageError{fmt.Errorf("values: %w", err)}
	}
	access, err := helmchart.NewAccessor(c)
	if err != nil {
		return nil, err
	}
	return common.Values{
		"Chart": access.MetadataAsMap(), "Capabilities": common.DefaultCapabilities, "Values": values,
		"Release": map[string]any{"Name": req.Release, "Namespace": req.Namespace, "Revision": 1, "IsInstall": true, "IsUpgrade": false, "Service": "mangru"},
	}, nil
}

// dropNulls leaves out what null was given for, as Helm does.
func dropNulls(m map[string]any) map[string]any {
	for key, v := range m {
		switch v := v.(type) {
		case nil:
			delete(m, key)
		case map[string]any:
			dropNulls(v)
		}
	}
	return m
}

func checkSchema(text []byte, values map[string]any) error {
	schema := &spec.Schema{}
	if err := schema.UnmarshalJSON(text); err != nil {
		return fmt.Errorf("the chart's schema: %w", err)
	}
	if err := spec.ExpandSchema(schema, schema, nil); err != nil {
		return fmt.Errorf("the chart's schema: %w", err)
	}
	return validate.AgainstSchema(schema, values, strfmt.Default)
}

// load reads the chart's files.
func load(files fs.FS) (*chart.Chart, error) {
	var all []*archive.BufferedFile
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		all = append(all, &archive.BufferedFile{Name: name, Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	c, err := loader.LoadFiles(all)
	if err != nil {
		return nil, fmt.Errorf("load the chart: %w", err)
	}
	return c, nil
}

// Presets lists the names of a chart's presets.
func Presets(files fs.FS) []string {
	found, _ := fs.Glob(files, "presets/*.yaml") // the pattern is good
	for i, f := range found {
		found[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return found
}

// values lays the request's values over each other.
func (r Request) values(files fs.FS) (map[string]any, error) {
	all := r.Values
	if r.Preset != "" {
		text, err := fs.ReadFile(files, "presets/"+r.Preset+".yaml")
		if err != nil || !slices.Contains(Presets(files), r.Preset) {
			return nil, usagef("preset: found %q, allowed are %s", r.Preset, strings.Join(Presets(files), ", "))
		}
		all = slices.Insert(slices.Clone(all), 0, Values{"preset " + r.Preset, text})
	}
	out := map[string]any{}
	for _, v := range all {
		one := map[string]any{}
		if err := yaml.UnmarshalStrict(v.Text, &one); err != nil {
			return nil, usagef("%s: %w", v.Name, err)
		}
		out = loader.MergeMaps(out, one)
	}
	for _, s := range r.Set {
		if err := strvals.ParseInto(s, out); err != nil {
			return nil, usagef("--set %s: %w", s, err)
		}
	}
	for _, s := range r.SetString {
		if err := strvals.ParseIntoString(s, out); err != nil {
			return nil, usagef("--set-string %s: %w", s, err)
		}
	}
	return out, nil
}

// collect reads the objects out of rendered templates.
func collect(texts map[string]string) (*Rendered, error) {
	out := &Rendered{}
	for name, text := range texts {
		if path.Base(name) == "NOTES.txt" {
			out.Notes = strings.TrimSpace(text) + "\n"
			continue
		}
		objects, err := Decode([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.Objects = append(out.Objects, objects...)
	}
	sortForApply(out.Objects)
	return out, nil
}

// Decode reads the objects of a YAML text of any number of documents.
func Decode(text []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	docs := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := docs.Decode(&o.Object)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		case len(o.Object) == 0:
			continue
		case o.GetKind() == "" || o.GetName() == "":
			return nil, fmt.Errorf("an object without kind or name: %v", o.Object)
		}
		out = append(out, o)
	}
}

// applyOrder has what others need come first.
var applyOrder = []string{
	"Namespace", "CustomResourceDefinition", "ServiceAccount", "Secret", "ConfigMap", "PersistentVolumeClaim",
	"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Service", "Deployment", "DaemonSet", "StatefulSet", "Job",
	"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
}

func rank(kind string) int {
	if i := slices.Index(applyOrder, kind); i >= 0 {
		return i
	}
	return len(applyOrder)
}

func sortForApply(objects []*unstructured.Unstructured) {
	slices.SortFunc(objects, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(rank(a.GetKind())-rank(b.GetKind()), cmp.Compare(a.GetKind(), b.GetKind()),
			cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
}

// YAML writes the objects down as one text.
func (r *Rendered) YAML() ([]byte, error) {
	var out bytes.Buffer
	for _, o := range r.Objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, err
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), nil
}
