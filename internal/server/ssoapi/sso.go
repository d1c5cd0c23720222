package ssoapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/server/api"
)

// NewSSO returns the operations of IAM Identity Center that say which instance
// and identity store an account has.
func NewSSO(dir *directory.Directory) (api.Service, error) {
	if dir == nil {
		return api.Service{}, errors.New("ssoapi: a directory is required")
	}
	h := &handlers{dir}
	list := route(h, ServiceSSO, "ListInstances", h.listInstances)
	// Policies for it name every resource.
	list.Resource = func(*api.Call) (string, error) { return "*", nil }
	one := route(h, ServiceSSO, "DescribeInstance", h.describeInstance)
	one.Resource = func(c *api.Call) (string, error) {
		store, err := dir.Store(c.Request.Context(), c.Principal.AccountID)
		return store.InstanceARN(), err
	}
	return api.Service{Name: ServiceSSO, Protocol: api.JSON11, TargetPrefix: TargetSSO, Hosts: []string{ServiceSSO}, Routes: []api.Route{list, one}}, nil
}

type instanceInput struct {
	InstanceArn string
	MaxResults  *int
	NextToken   string
}

func (in *instanceInput) subject() subject { return subject{} }

type instanceOutput struct {
	InstanceArn     string
	IdentityStoreID string `json:"IdentityStoreId"`
	OwnerAccountID  string `json:"OwnerAccountId"`
	Status          string
	CreatedDate     json.RawMessage
}

func instanceOf(s directory.Store) instanceOutput {
	return instanceOutput{InstanceArn: s.InstanceARN(), IdentityStoreID: s.ID, OwnerAccountID: s.AccountID, Status: "ACTIVE", CreatedDate: seconds(s.Created)}
}

func (h *handlers) listInstances(_ context.Context, c *call, _ *instanceInput) (any, error) {
	return struct{ Instances []instanceOutput }{[]instanceOutput{instanceOf(c.store)}}, nil
}

func (h *handlers) describeInstance(_ context.Context, c *call, in *instanceInput) (any, error) {
	if in.InstanceArn != c.store.InstanceARN() {
		return nil, &api.Error{Status: http.StatusBadRequest, Code: "ResourceNotFoundException", Message: "The instance was not found."}
	}
	return instanceOf(c.store), nil
}
