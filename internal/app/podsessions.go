package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mangru/mangru/internal/auth/sts"
	"github.com/mangru/mangru/internal/server/eksapi"
)

// podSessions gives EKS Auth the credentials of the token service.
type podSessions struct{ tokens *sts.Service }

// AssumeForPod implements eksapi.Sessions.
func (p podSessions) AssumeForPod(ctx context.Context, in eksapi.PodSession) (eksapi.Credentials, error) {
	if in.Policy != "" && in.TargetRoleARN == "" {
		// Credentials without the bound that was asked for must not go out.
		return eksapi.Credentials{}, fmt.Errorf("policy of %s/%s: %w", in.Namespace, in.ServiceAccount, eksapi.ErrNotTrusted)
	}
	s, err := p.tokens.AssumeRoleForPodIdentity(ctx, in.Context, sts.PodIdentity{
		RoleARN: in.RoleARN, ClusterARN: in.ClusterARN, ClusterName: in.ClusterName, Namespace: in.Namespace, ServiceAccount: in.ServiceAccount,
		Pod: in.Pod, PodUID: in.PodUID, DisableSessionTags: in.NoSessionTags})
	if err != nil {
		return eksapi.Credentials{}, podSessionError(err)
	}
	if in.TargetRoleARN != "" {
		target := sts.AssumeRoleInput{RoleARN: in.TargetRoleARN, RoleSessionName: s.Principal.Session.Name, ExternalID: &in.ExternalID}
		if in.Policy != "" {
			target.Policy = &in.Policy
		}
		if s, err = p.tokens.AssumeRole(ctx, sts.Caller{Principal: s.Principal, Context: in.Context}, target); err != nil {
			return eksapi.Credentials{}, podSessionError(err)
		}
	}
	c := s.Credentials
	return eksapi.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expiration: c.Expires,
		RoleARN: s.Principal.ARN, RoleID: s.Principal.ID}, nil
}

// podSessionError hides from pods why a role cannot be assumed, as EKS does; the
// reason is for the log.
func podSessionError(err error) error {
	var e *sts.Error
	if errors.As(err, &e) && e.Code == sts.CodeAccessDenied {
		return fmt.Errorf("%w: %s", eksapi.ErrNotTrusted, strings.TrimSpace(e.Message+" "+e.Reason))
	}
	return err
}
