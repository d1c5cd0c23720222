// Package stsapi is the Security Token Service's API in the Query protocol.
package stsapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sts"
	"github.com/mangru/mangru/internal/awsquery"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/server/api"
)

// The name, namespace and version of the service.
const (
	Name      = "sts"
	Version   = "2011-06-15"
	Namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
)

// Tokens is the service behind the API; *sts.Service is one.
type Tokens interface {
	AssumeRole(ctx context.Context, c sts.Caller, in sts.AssumeRoleInput) (*sts.Session, error)
	AssumeRoleWithWebIdentity(ctx context.Context, keys map[string][]string, in sts.WebIdentityInput) (*sts.WebIdentity, error)
	GetSessionToken(ctx context.Context, p iam.Principal, in sts.SessionTokenInput) (*sts.Session, error)
	AccountOfKey(ctx context.Context, p iam.Principal, id string) (string, error)
}

type handlers struct{ tokens Tokens }

// New returns the service's operations.
func New(tokens Tokens) (api.Service, error) {
	if tokens == nil {
		return api.Service{}, errors.New("stsapi: no token service")
	}
	h := handlers{tokens}
	return api.Service{Name: Name, Protocol: api.Query, Namespace: Namespace, Version: Version, Hosts: []string{Name}, Routes: []api.Route{
		{Name: "AssumeRole", NoPermission: true, Handle: h.assumeRole},
		{Name: "AssumeRoleWithWebIdentity", Anonymous: true, Handle: h.assumeRoleWithWebIdentity},
		{Name: "GetSessionToken", NoPermission: true, Handle: h.getSessionToken},
		{Name: "GetCallerIdentity", NoPermission: true, Handle: h.getCallerIdentity},
		{Name: "GetAccessKeyInfo", Action: "sts:GetAccessKeyInfo", Handle: h.getAccessKeyInfo,
			Resource: func(*api.Call) (string, error) { return "*", nil }},
	}}, nil
}

// The shapes of the API.
type (
	tag struct{ Key, Value string }

	policyDescriptor struct {
		ARN string `query:"arn"`
	}

	common struct {
		RoleARN                 string `query:"RoleArn"`
		RoleSessionName         string
		DurationSeconds         *int32
		Policy                  *string
		PolicyARNs              []policyDescriptor `query:"PolicyArns"`
		MinimumSessionTokenSize *int32
	}

	assumeRoleRequest struct {
		common
		ExternalID        *string `query:"ExternalId"`
		Tags              []tag
		TransitiveTagKeys []string
		SourceIdentity    *string
		SerialNumber      *string
		TokenCode         *string
		ProvidedContexts  []providedContext
	}

	providedContext struct {
		ProviderARN      string `query:"ProviderArn"`
		ContextAssertion string
	}

	webIdentityRequest struct {
		common
		WebIdentityToken string
		ProviderID       *string `query:"ProviderId"`
	}

	sessionTokenRequest struct {
		DurationSeconds         *int32
		SerialNumber            *string
		TokenCode               *string
		MinimumSessionTokenSize *int32
	}

	accessKeyInfoRequest struct {
		AccessKeyID string `query:"AccessKeyId"`
	}

	credentialSet struct {
		AccessKeyID     string `query:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      time.Time
	}

	assumedRoleUser struct {
		AssumedRoleID string `query:"AssumedRoleId"`
		ARN           string `query:"Arn"`
	}

	session struct {
		Credentials             credentialSet
		AssumedRoleUser         *assumedRoleUser
		PackedPolicySize        *int32
		SessionTokenSize        int32
		SessionTokenUtilization int32
		SourceIdentity          string
	}

	webIdentityResult struct {
		session
		SubjectFromWebIdentityToken string
		Provider                    string
		Audience                    string
	}

	callerIdentityResult struct {
		ARN     string `query:"Arn"`
		UserID  string `query:"UserId"`
		Account string
	}

	accessKeyInfoResult struct{ Account string }
)

func (r *common) in() sts.Common {
	out := sts.Common{DurationSeconds: r.DurationSeconds, Policy: r.Policy, MinimumSessionTokenSize: r.MinimumSessionTokenSize}
	for _, p := range r.PolicyARNs {
		out.PolicyARNs = append(out.PolicyARNs, p.ARN)
	}
	return out
}

func sessionOf(s *sts.Session) session {
	out := session{
		Credentials: credentialSet{AccessKeyID: s.Credentials.AccessKeyID, SecretAccessKey: s.Credentials.SecretAccessKey,
			SessionToken: s.Credentials.SessionToken, Expiration: s.Credentials.Expires},
		PackedPolicySize: s.PackedPolicySize, SessionTokenSize: s.TokenSize, SessionTokenUtilization: s.TokenUtilization,
		SourceIdentity: s.Principal.Session.SourceIdentity,
	}
	if s.Principal.Type == iam.TypeAssumedRole {
		out.AssumedRoleUser = &assumedRoleUser{AssumedRoleID: s.Principal.ID, ARN: s.Principal.ARN}
	}
	return out
}

// answer writes the result of a call. What it answers with may hold secrets.
func answer(w http.ResponseWriter, c *api.Call, action string, result any) error {
	w.Header().Set("Cache-Control", "no-store")
	return awsquery.Write(w, http.StatusOK, Namespace, action, httpserver.RequestID(c.Request.Context()), result)
}

// refusal gives an error its answer. What the caller is not told goes into the
// request's log line.
func refusal(c *api.Call, err error) error {
	var e *sts.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Reason != "" {
		httpserver.Annotate(c.Request.Context(), slog.String("reason", e.Reason))
	}
	return &api.Error{Status: e.Status, Code: e.Code, Message: e.Message}
}

// aboutRole notes for the log which role is asked for.
func aboutRole(c *api.Call, arn string) {
	const most = 2048 // characters that an ARN can have
	if len(arn) <= most {
		httpserver.Annotate(c.Request.Context(), slog.String("resource", arn))
	}
}

func (h handlers) assumeRole(w http.ResponseWriter, c *api.Call) error {
	var r assumeRoleRequest
	if err := awsquery.Decode(c.Form, &r); err != nil {
		return err
	}
	aboutRole(c, r.RoleARN)
	if len(r.ProvidedContexts) > 0 {
		return &api.Error{Status: http.StatusBadRequest, Code: sts.CodeInvalidParameter, Message: "ProvidedContexts are not supported: no context provider is known here."}
	}
	in := sts.AssumeRoleInput{Common: r.in(), RoleARN: r.RoleARN, RoleSessionName: r.RoleSessionName, ExternalID: r.ExternalID,
		TransitiveTagKeys: r.TransitiveTagKeys, SourceIdentity: r.SourceIdentity, SerialNumber: r.SerialNumber, TokenCode: r.TokenCode}
	for _, t := range r.Tags {
		in.Tags = append(in.Tags, sts.Tag(t))
	}
	s, err := h.tokens.AssumeRole(c.Request.Context(), sts.Caller{Principal: c.Principal, Context: c.Context}, in)
	if err != nil {
		return refusal(c, err)
	}
	return answer(w, c, "AssumeRole", sessionOf(s))
}

func (h handlers) assumeRoleWithWebIdentity(w http.ResponseWriter, c *api.Call) error {
	var r webIdentityRequest
	if err := awsquery.Decode(c.Form, &r); err != nil {
		return err
	}
	aboutRole(c, r.RoleARN)
	in := sts.WebIdentityInput{Common: r.in(), RoleARN: r.RoleARN, RoleSessionName: r.RoleSessionName, Token: r.WebIdentityToken, ProviderID: r.ProviderID}
	s, err := h.tokens.AssumeRoleWithWebIdentity(c.Request.Context(), c.Context, in)
	if err != nil {
		return refusal(c, err)
	}
	httpserver.SetPrincipal(c.Request.Context(), s.Principal.ARN)
	httpserver.Annotate(c.Request.Context(), slog.String("subject", s.Subject), slog.String("provider", s.Provider))
	return answer(w, c, "AssumeRoleWithWebIdentity", webIdentityResult{session: sessionOf(s.Session),
		SubjectFromWebIdentityToken: s.Subject, Provider: s.Provider, Audience: s.Audience})
}

func (h handlers) getSessionToken(w http.ResponseWriter, c *api.Call) error {
	var r sessionTokenRequest
	if err := awsquery.Decode(c.Form, &r); err != nil {
		return err
	}
	s, err := h.tokens.GetSessionToken(c.Request.Context(), c.Principal, sts.SessionTokenInput(r))
	if err != nil {
		return refusal(c, err)
	}
	return answer(w, c, "GetSessionToken", sessionOf(s))
}

func (h handlers) getCallerIdentity(w http.ResponseWriter, c *api.Call) error {
	if err := awsquery.Decode(c.Form, &struct{}{}); err != nil {
		return err
	}
	p := c.Principal
	return answer(w, c, "GetCallerIdentity", callerIdentityResult{ARN: p.ARN, UserID: p.ID, Account: p.AccountID})
}

func (h handlers) getAccessKeyInfo(w http.ResponseWriter, c *api.Call) error {
	var r accessKeyInfoRequest
	if err := awsquery.Decode(c.Form, &r); err != nil {
		return err
	}
	account, err := h.tokens.AccountOfKey(c.Request.Context(), c.Principal, r.AccessKeyID)
	if err != nil {
		return refusal(c, err)
	}
	return answer(w, c, "GetAccessKeyInfo", accessKeyInfoResult{Account: account})
}
