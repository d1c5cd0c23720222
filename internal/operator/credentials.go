package operator

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What amazon-eks-pod-identity-webhook puts into pods.
const (
	annotationPrefix = "eks.amazonaws.com/"
	roleVolume       = "aws-iam-token"
	roleMount        = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
	roleAudience     = "sts.amazonaws.com"
	roleToken        = "token"

	podVolume   = "eks-pod-identity-token"
	podMount    = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"
	podAudience = "pods.eks.amazonaws.com"
	podAgent    = "http://169.254.170.23/v1/credentials"

	defaultTokenLife = 86400
	minTokenLife     = 600
)

// credentials gives pods the AWS credentials of their service account.
type credentials struct {
	accounts client.Reader
	// stsEndpoint is AWS_ENDPOINT_URL_STS; empty leaves it out.
	stsEndpoint string
	// region is what pods get that name none; empty leaves it out.
	region string
	// podIdentity are service accounts, NAMESPACE/NAME, with an association.
	podIdentity func(namespace, name string) bool
	// regionalSTS is the default of the annotation sts-regional-endpoints.
	regionalSTS bool
}

func (w *webhooks) credentialsOf(ctx context.Context, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	pod, err := podOf(req)
	if err != nil || w.credentials == nil {
		return allowed()
	}
	done, err := w.credentials.give(ctx, pod)
	if err != nil {
		w.log("the pod starts without credentials", "namespace", pod.Namespace, "pod", pod.Name+pod.GenerateName, "err", err)
		return allowed("no AWS credentials: " + err.Error())
	}
	if !done {
		return allowed()
	}
	return changed(req.Object.Raw, pod)
}

// give changes a pod whose service account names a role.
func (c *credentials) give(ctx context.Context, pod *corev1.Pod) (bool, error) {
	name := cmp.Or(pod.Spec.ServiceAccountName, "default")
	if c.podIdentity != nil && c.podIdentity(pod.Namespace, name) {
		return c.givePodIdentity(pod), nil
	}
	account := &metav1.PartialObjectMetadata{}
	account.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"})
	if err := c.accounts.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: name}, account); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	role := account.Annotations[annotationPrefix+"role-arn"]
	if role == "" {
		return false, nil
	}
	life := tokenLife(pod.Annotations[annotationPrefix+"token-expiration"], account.Annotations[annotationPrefix+"token-expiration"])
	audience := cmp.Or(account.Annotations[annotationPrefix+"audience"], roleAudience)
	regional := c.regionalSTS
	if v, err := strconv.ParseBool(account.Annotations[annotationPrefix+"sts-regional-endpoints"]); err == nil {
		regional = v
	}
	mount, file := roleMount, roleMount+"/"+roleToken
	if pod.Spec.NodeSelector["kubernetes.io/os"] == "windows" {
		mount, file = `C:\var\run\secrets\eks.amazonaws.com\serviceaccount`, `C:\var\run\secrets\eks.amazonaws.com\serviceaccount\token`
	}
	given := c.eachContainer(pod, func(k *corev1.Container) bool {
		if regional {
			addEnv(k, "AWS_STS_REGIONAL_ENDPOINTS", "regional")
		}
		if c.region != "" && !hasEnv(k.Env, "AWS_REGION") && !hasEnv(k.Env, "AWS_DEFAULT_REGION") {
			addEnv(k, "AWS_DEFAULT_REGION", c.region)
			addEnv(k, "AWS_REGION", c.region)
		}
		if hasEnv(k.Env, "AWS_ROLE_ARN") || hasEnv(k.Env, "AWS_WEB_IDENTITY_TOKEN_FILE") {
			return false
		}
		addEnv(k, "AWS_ROLE_ARN", role)
		addEnv(k, "AWS_WEB_IDENTITY_TOKEN_FILE", file)
		if c.stsEndpoint != "" {
			addEnv(k, "AWS_ENDPOINT_URL_STS", c.stsEndpoint)
		}
		addMount(k, roleVolume, mount)
		return true
	})
	if given {
		addToken(pod, roleVolume, audience, roleToken, life)
	}
	return given, nil
}

func (c *credentials) givePodIdentity(pod *corev1.Pod) bool {
	given := c.eachContainer(pod, func(k *corev1.Container) bool {
		if c.region != "" && !hasEnv(k.Env, "AWS_REGION") && !hasEnv(k.Env, "AWS_DEFAULT_REGION") {
			addEnv(k, "AWS_DEFAULT_REGION", c.region)
			addEnv(k, "AWS_REGION", c.region)
		}
		if hasEnv(k.Env, "AWS_CONTAINER_CREDENTIALS_FULL_URI") || hasEnv(k.Env, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
			return false
		}
		addEnv(k, "AWS_CONTAINER_CREDENTIALS_FULL_URI", podAgent)
		addEnv(k, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", podMount+"/"+podVolume)
		addMount(k, podVolume, podMount)
		return true
	})
	if !given {
		return false
	}
	addToken(pod, podVolume, podAudience, podVolume, defaultTokenLife)
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[annotationPrefix+"pod-identity"] = "enabled"
	return true
}

// eachContainer visits all containers that are not to be skipped, and tells
// whether one was given something.
func (c *credentials) eachContainer(pod *corev1.Pod, give func(*corev1.Container) bool) bool {
	var skip []string
	for _, name := range strings.Split(pod.Annotations[annotationPrefix+"skip-containers"], ",") {
		skip = append(skip, strings.TrimSpace(name))
	}
	given := false
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if !slices.Contains(skip, list[i].Name) && give(&list[i]) {
				given = true
			}
		}
	}
	return given
}

// tokenLife is the first that is a number, in seconds, and not less than
// Kubernetes allows.
func tokenLife(wanted ...string) int64 {
	for _, w := range wanted {
		if n, err := strconv.ParseInt(w, 10, 64); err == nil {
			return max(n, minTokenLife)
		}
	}
	return defaultTokenLife
}

func addEnv(k *corev1.Container, name, value string) {
	if !hasEnv(k.Env, name) {
		k.Env = append(k.Env, corev1.EnvVar{Name: name, Value: value})
	}
}

func addMount(k *corev1.Container, volume, at string) {
	if !hasMount(k, volume) {
		k.VolumeMounts = append(k.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: at, ReadOnly: true})
	}
}

// addToken puts the volume first, as upstream does.
func addToken(pod *corev1.Pod, volume, audience, path string, life int64) {
	if slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume }) {
		return
	}
	pod.Spec.Volumes = slices.Insert(pod.Spec.Volumes, 0, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, ExpirationSeconds: &life, Path: path}}},
	}}})
}
