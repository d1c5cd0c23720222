package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The paths of the webhooks; those of the collectors are upstream's.
const (
	pathMutate      = "/mutate-opentelemetry-io-v1beta1-opentelemetrycollector"
	pathValidate    = "/validate-opentelemetry-io-v1beta1-opentelemetrycollector"
	pathSidecars    = "/mutate-v1-pod"
	pathCredentials = "/mutate-v1-pod-credentials"
	pathConvert     = "/convert"
)

// maxReview bounds what an API server may send: its own limit of an object is
// 3 MiB, and a review of an update has two.
const maxReview = 8 << 20

// webhooks answers the API server.
type webhooks struct {
	render      renderer
	objects     client.Reader
	credentials *credentials // nil where pods are not given any
	log         func(msg string, args ...any)
}

// register adds the handlers to a mux.
func (w *webhooks) register(handle func(path string, h http.Handler)) {
	handle(pathMutate, admit(w.mutate))
	handle(pathValidate, admit(w.validate))
	handle(pathSidecars, admit(w.sidecars))
	handle(pathCredentials, admit(w.credentialsOf))
	handle(pathConvert, http.HandlerFunc(serveConversion))
}

// admit serves AdmissionReview.
func admit(decide func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := readJSON(r, &review); err != nil || review.Request == nil {
			http.Error(w, fmt.Sprintf("not an AdmissionReview: %v", err), http.StatusBadRequest)
			return
		}
		answer := decide(r.Context(), review.Request)
		answer.UID = review.Request.UID
		writeJSON(w, admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: answer})
	})
}

func readJSON(r *http.Request, into any) error {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxReview+1))
	if err != nil {
		return err
	}
	if len(text) > maxReview {
		return errors.New("the request is too large")
	}
	return json.Unmarshal(text, into)
}

func writeJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

func allowed(warnings ...string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Allowed: true, Warnings: warnings}
}

func refused(code int32, message string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{Code: code, Message: message}}
}

// changed answers with the patch from one text to the other.
func changed(before []byte, after any) *admissionv1.AdmissionResponse {
	text, err := json.Marshal(after)
	if err != nil {
		return refused(http.StatusInternalServerError, err.Error())
	}
	patch, err := jsonpatch.CreatePatch(before, text)
	if err != nil {
		return refused(http.StatusInternalServerError, err.Error())
	}
	out := allowed()
	if len(patch) == 0 {
		return out
	}
	if out.Patch, err = json.Marshal(patch); err != nil {
		return refused(http.StatusInternalServerError, err.Error())
	}
	kind := admissionv1.PatchTypeJSONPatch
	out.PatchType = &kind
	return out
}

// mutate fills in the defaults that kubectl get should show.
func (w *webhooks) mutate(_ context.Context, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	o := map[string]any{}
	if err := json.Unmarshal(req.Object.Raw, &o); err != nil {
		return refused(http.StatusBadRequest, err.Error())
	}
	spec, _ := o["spec"].(map[string]any)
	if spec == nil {
		return allowed()
	}
	setDefaults(spec)
	return changed(req.Object.Raw, o)
}

func setDefaults(spec map[string]any) {
	fill := func(m map[string]any, key string, value any) {
		if m[key] == nil {
			m[key] = value
		}
	}
	fill(spec, "mode", modeDeployment)
	fill(spec, "upgradeStrategy", "automatic")
	fill(spec, "managementState", "managed")
	mode := spec["mode"]
	if mode == modeDeployment || mode == modeStatefulSet {
		fill(spec, "replicas", int64(1))
	}
	if a, ok := spec["autoscaler"].(map[string]any); ok && a["maxReplicas"] != nil {
		fill(a, "minReplicas", spec["replicas"])
		if a["targetMemoryUtilization"] == nil && a["metrics"] == nil {
			fill(a, "targetCPUUtilization", int64(90))
		}
	}
	if t, ok := spec["targetAllocator"].(map[string]any); ok && t["enabled"] == true {
		fill(t, "replicas", int64(1))
	}
}

func (w *webhooks) validate(_ context.Context, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	if req.Operation == admissionv1.Delete {
		return allowed()
	}
	c, before := &Collector{}, (*Collector)(nil)
	if err := json.Unmarshal(req.Object.Raw, c); err != nil {
		return refused(http.StatusUnprocessableEntity, "the object cannot be read: "+err.Error())
	}
	if req.Operation == admissionv1.Update {
		before = &Collector{}
		if err := json.Unmarshal(req.OldObject.Raw, before); err != nil {
			before = nil
		}
		if c.DeletionTimestamp != nil {
			return allowed() // only finalizers can change; nothing may keep it from going
		}
	}
	v := w.render.validate(c, before)
	if len(v.errors) > 0 {
		out := refused(http.StatusUnprocessableEntity, strings.Join(v.errors, "; "))
		out.Warnings = short(v.warnings)
		return out
	}
	return allowed(short(v.warnings)...)
}

// short bounds warnings to what API servers pass on.
func short(warnings []string) []string {
	for i, w := range warnings {
		warnings[i] = w[:min(len(w), 240)]
	}
	return warnings[:min(len(warnings), 8)]
}

// serveConversion serves ConversionReview.
func serveConversion(w http.ResponseWriter, r *http.Request) {
	var review apiextensionsv1.ConversionReview
	if err := readJSON(r, &review); err != nil || review.Request == nil {
		http.Error(w, fmt.Sprintf("not a ConversionReview: %v", err), http.StatusBadRequest)
		return
	}
	answer := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}, ConvertedObjects: []runtime.RawExtension{}}
	version := review.Request.DesiredAPIVersion[strings.LastIndexByte(review.Request.DesiredAPIVersion, '/')+1:]
	for _, raw := range review.Request.Objects {
		text, err := convertRaw(raw.Raw, version)
		if err != nil {
			answer.ConvertedObjects = nil
			answer.Result = metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
			break
		}
		answer.ConvertedObjects = append(answer.ConvertedObjects, runtime.RawExtension{Raw: text})
	}
	writeJSON(w, apiextensionsv1.ConversionReview{TypeMeta: review.TypeMeta, Response: answer})
}

func convertRaw(raw []byte, version string) ([]byte, error) {
	o := map[string]any{}
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	out, err := convert(o, version)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// podOf reads the pod that is to be made. Its namespace may be only in the request.
func podOf(req *admissionv1.AdmissionRequest) (*corev1.Pod, error) {
	p := &corev1.Pod{}
	err := json.Unmarshal(req.Object.Raw, p)
	if p.Namespace == "" {
		p.Namespace = req.Namespace
	}
	return p, err
}
