package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/mangru/mangru/internal/audit"
	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/people/portal"
	"github.com/mangru/mangru/internal/server/workspace"
)

// estate is a Server as its administrators see it in the browser.
type estate struct{ s *Server }

// refused gives errors of the records their answers.
func refused(err error) error {
	var missing *workspace.NotFoundError
	var invalid *workspace.InvalidError
	var conflict *workspace.ConflictError
	var quota *workspace.QuotaError
	var access *iam.Error
	switch {
	case errors.As(err, &missing):
		return portal.Refused(http.StatusNotFound, missing.Error())
	case errors.As(err, &invalid):
		return portal.Refused(http.StatusBadRequest, invalid.Error())
	case errors.As(err, &conflict):
		return portal.Refused(http.StatusConflict, conflict.Error())
	case errors.As(err, &quota):
		return portal.Refused(http.StatusConflict, quota.Error())
	case errors.As(err, &access) && errors.Is(err, iam.ErrNoSuchEntity):
		return portal.Refused(http.StatusNotFound, access.Error())
	case errors.As(err, &access):
		return portal.Refused(http.StatusConflict, access.Error())
	case errors.Is(err, workspace.ErrNotFound):
		return portal.Refused(http.StatusNotFound, err.Error())
	}
	return err
}

func (e estate) Metrics(ctx context.Context) ([]portal.MetricsWorkspace, error) {
	var out []portal.MetricsWorkspace
	in := workspace.ListInput{}
	for {
		page, next, err := e.s.workspaces.List(ctx, e.s.Account(), in)
		if err != nil {
			return nil, err
		}
		for _, w := range page {
			d := e.s.describe(w)
			out = append(out, portal.MetricsWorkspace{ID: w.ID, Alias: w.Alias, ARN: w.ARN(), Status: string(w.Status), Created: w.CreatedAt, Tags: w.Tags,
				RemoteWriteURL: d.RemoteWriteURL, QueryURL: d.QueryURL})
		}
		if next == "" {
			return out, nil
		}
		in.NextToken = next
	}
}

func (e estate) CreateMetrics(ctx context.Context, alias string) error {
	_, err := e.s.workspaces.Create(ctx, e.s.Account(), workspace.CreateInput{Alias: alias})
	return refused(err)
}

func (e estate) RenameMetrics(ctx context.Context, id, alias string) error {
	return refused(e.s.workspaces.UpdateAlias(ctx, e.s.Account(), id, alias, ""))
}

func (e estate) DeleteMetrics(ctx context.Context, id string) error {
	return refused(e.s.workspaces.Delete(ctx, e.s.Account(), id, ""))
}

// policiesOf lists the policies of a user or role: ARNs, then names of inline ones.
func (e estate) policiesOf(ctx context.Context, ref iam.Ref) ([]string, error) {
	attached, err := e.s.identity.iam.AttachedPolicies(ctx, ref)
	if err != nil {
		return nil, err
	}
	inline, err := e.s.identity.iam.InlinePolicies(ctx, ref)
	return append(append([]string{}, attached...), inline...), err
}

func (e estate) Users(ctx context.Context) ([]portal.AccessUser, error) {
	users, _, err := e.s.identity.iam.Users(ctx, e.s.Account(), iam.Page{})
	if err != nil {
		return nil, err
	}
	var out []portal.AccessUser
	for _, u := range users {
		keys, err := e.s.identity.iam.AccessKeys(ctx, e.s.Account(), u.Name)
		if err != nil {
			return nil, err
		}
		o := portal.AccessUser{Name: u.Name, ARN: u.ARN, Created: u.Created, Keys: []portal.AccessKey{}}
		for _, k := range keys {
			o.Keys = append(o.Keys, portal.AccessKey{ID: k.ID, Active: k.Active, Created: k.Created, LastUsed: k.LastUsed.At, Service: k.LastUsed.Service})
		}
		if o.Policies, err = e.policiesOf(ctx, iam.UserRef(e.s.Account(), u.Name)); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func (e estate) CreateUser(ctx context.Context, name string) error {
	_, err := e.s.identity.iam.CreateUser(ctx, e.s.Account(), name)
	return refused(err)
}

func (e estate) CreateKey(ctx context.Context, user string) (id, secret string, err error) {
	k, err := e.s.identity.iam.CreateAccessKey(ctx, e.s.Account(), user)
	return k.ID, k.Secret, refused(err)
}

func (e estate) SetKey(ctx context.Context, user, id string, active bool) error {
	return refused(e.s.identity.iam.UpdateAccessKey(ctx, e.s.Account(), user, id, active))
}

func (e estate) DeleteKey(ctx context.Context, user, id string) error {
	return refused(e.s.identity.iam.RemoveAccessKey(ctx, e.s.Account(), user, id))
}

func (e estate) Roles(ctx context.Context) ([]portal.AccessRole, error) {
	roles, _, err := e.s.identity.iam.Roles(ctx, e.s.Account(), iam.Page{})
	if err != nil {
		return nil, err
	}
	var out []portal.AccessRole
	for _, r := range roles {
		o := portal.AccessRole{Name: r.Name, ARN: r.ARN, Description: r.Description, Trust: r.Trust, Created: r.Created, LastUsed: r.LastUsed.At}
		if o.Policies, err = e.policiesOf(ctx, iam.Ref{Kind: iam.KindRole, Account: e.s.Account(), Name: r.Name}); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func (e estate) Policies(ctx context.Context) ([]portal.AccessPolicy, error) {
	list, err := e.s.identity.iam.Policies(ctx, e.s.Account(), true, true)
	var out []portal.AccessPolicy
	for _, p := range list {
		out = append(out, portal.AccessPolicy{Name: p.Name, ARN: p.ARN, Description: p.Description, Own: p.AccountID == e.s.Account(), Attachments: p.Attachments})
	}
	return out, err
}

func (e estate) PolicyDocument(ctx context.Context, arn string) (string, error) {
	p, err := e.s.identity.iam.Policy(ctx, e.s.Account(), arn)
	if err != nil {
		return "", refused(err)
	}
	v, err := e.s.identity.iam.PolicyVersion(ctx, e.s.Account(), arn, p.DefaultVersion)
	return v.Document, refused(err)
}

func (e estate) Clusters(ctx context.Context) ([]portal.Cluster, error) {
	const page = 100
	var out []portal.Cluster
	for token := ""; ; {
		list, next, err := e.s.identity.clusters.List(ctx, e.s.Account(), page, token)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			out = append(out, portal.Cluster{Name: c.Name, Version: c.Version, Endpoint: c.Endpoint, Issuer: c.Issuer, Scrapable: c.Scrapable, Created: c.CreatedAt})
		}
		if next == "" {
			return out, nil
		}
		token = next
	}
}

func (e estate) Audit(_ context.Context, text string, most int) ([]json.RawMessage, error) {
	return audit.Tail(e.s.cfg.auditFile(), text, most)
}

func (e estate) Note(_ context.Context, d portal.Deed) {
	ev := audit.Event{Time: time.Now(), RequestID: uuid.NewString(), Principal: "arn:aws:identitystore:::user/" + d.UserID, Service: "mangru-ui", Action: d.Action, Resource: d.Resource,
		Source: d.Source, UserAgent: d.Agent, Decision: audit.Allow}
	if d.Err != nil {
		ev.Decision, ev.Reason = audit.Error, d.Err.Error()
	}
	e.s.identity.audit.Record(ev)
}
