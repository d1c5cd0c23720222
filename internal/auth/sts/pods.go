package sts

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/policy"
)

// podService is the service that roles for EKS Pod Identity trust.
const podService = "pods.eks.amazonaws.com"

// PodIdentity is a pod that somebody has verified, and the role that it is
// associated with.
type PodIdentity struct {
	RoleARN                 string
	ClusterARN, ClusterName string
	Namespace               string
	ServiceAccount          string
	Pod, PodUID             string
	// DisableSessionTags leaves out the tags that tell the pod.
	DisableSessionTags bool
}

// tags are those that EKS gives a pod's session, all of them transitive.
func (in *PodIdentity) tags() []Tag {
	if in.DisableSessionTags {
		return nil
	}
	all := []Tag{{"eks-cluster-arn", in.ClusterARN}, {"eks-cluster-name", in.ClusterName},
		{"kubernetes-namespace", in.Namespace}, {"kubernetes-service-account", in.ServiceAccount},
		{"kubernetes-pod-name", in.Pod}, {"kubernetes-pod-uid", in.PodUID}}
	tags := all[:0]
	for _, t := range all {
		if t.Value != "" {
			tags = append(tags, t)
		}
	}
	return tags
}

// AssumeRoleForPodIdentity gives a pod the credentials of a role that trusts
// pods.eks.amazonaws.com. Whoever calls it has verified the pod's token and that
// the role is associated with the pod's service account. keys are the condition
// keys of the request. Refusals are *Error.
func (s *Service) AssumeRoleForPodIdentity(ctx context.Context, keys map[string][]string, in PodIdentity) (*Session, error) {
	out, err := s.assumeForPod(ctx, keys, &in)
	s.count("AssumeRoleForPodIdentity", err)
	return out, err
}

func (s *Service) assumeForPod(ctx context.Context, keys map[string][]string, in *PodIdentity) (*Session, error) {
	account, name, err := splitRole(in.RoleARN)
	if err != nil {
		return nil, err
	}
	tags := in.tags()
	var v violations
	if checkTags(&v, tags, nil); len(v) > 0 {
		return nil, v.err()
	}
	session := &iam.Session{Name: podSessionName(in.ClusterName, in.Pod)}
	if len(tags) > 0 {
		session.Tags = make(map[string]string, len(tags))
	}
	for _, t := range tags {
		session.Tags[t.Key] = t.Value
		session.Transitive = append(session.Transitive, t.Key)
	}
	role, err := s.role(ctx, account, name, in.RoleARN)
	if err != nil {
		return nil, err
	}
	own := sessionContext(keys, session, role)
	addRequestTags(own, tags)
	// Against the confused deputy: a role may say for which cluster it is.
	own["aws:sourcearn"], own["aws:sourceaccount"] = []string{in.ClusterARN}, []string{accountOf(in.ClusterARN)}
	who := policy.Principal{Service: podService}
	for _, action := range actionsOf(actionAssume, len(tags) > 0, false) {
		if reason := s.trusted(role, policy.Request{Principal: who, Action: action, Resource: in.RoleARN, Context: own}); reason != "" {
			return nil, denied(reason+", service "+podService, "Unauthorized Exception! EKS does not have permissions to assume the associated role.")
		}
	}
	life := podSession
	if role.MaxSession > 0 {
		life = min(life, role.MaxSession)
	}
	return s.issue(assumed(role, *session), life, 0)
}

// podSessionName is eks-CLUSTER-POD-RANDOM, cut to what a name may have.
func podSessionName(cluster, pod string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	clean := func(s string, most int) string {
		s = strings.Map(func(r rune) rune {
			if r < 0x80 && patternName.re().MatchString(string(r)) {
				return r
			}
			return '-'
		}, s)
		return s[:min(len(s), most)]
	}
	return "eks-" + clean(cluster, 16) + "-" + clean(pod, 24) + "-" + hex.EncodeToString(b[:])
}

func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
