// Package eksapi serves the part of Amazon EKS' API that is about what clusters
// there are, and which of their service accounts act as which role: clusters,
// Pod Identity associations, tags, and the exchange of a pod's token for
// credentials (the service eks-auth). Clusters are recorded, not run: what in
// AWS makes a cluster is here the registration of one.
package eksapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/addon"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/cluster"
)

// The signing names of the services.
const (
	ServiceEKS     = "eks"
	ServiceEKSAuth = "eks-auth"
)

// podService is the service that assumes roles for pods: the principal in a
// role's trust policy, and the audience of tokens.
const podService = "pods.eks.amazonaws.com"

// Config of both services.
type Config struct {
	Region   string
	Clusters *cluster.Service
	// Addons are what is put into clusters; nil serves no operations on them.
	Addons *addon.Service
	// Roles is asked whether a caller may hand a role to pods.
	Roles Passer
	// Tokens verifies pods' tokens, Sessions makes credentials. Only NewAuth
	// needs them.
	Tokens   Tokens
	Sessions Sessions
}

// Passer says whether a caller may hand a role to a service (iam:PassRole); it
// is what *iam.Service does. A nil error is the only yes.
type Passer interface {
	PassRole(ctx context.Context, r iam.Request, roleARN, service string) error
}

type eks struct{ cfg Config }

// New returns the operations of EKS.
func New(cfg Config) (api.Service, error) {
	if cfg.Region == "" || cfg.Clusters == nil || cfg.Roles == nil {
		return api.Service{}, errors.New("eks: region, clusters and roles are required")
	}
	e := &eks{cfg}
	return api.Service{Name: ServiceEKS, Hosts: []string{"eks"}, Routes: e.routes()}, nil
}

type handler = func(http.ResponseWriter, *api.Call) error

func (e *eks) routes() []api.Route {
	route := func(name, method, path string, resource func(*api.Call) (string, error), h handler) api.Route {
		return api.Route{Name: name, Method: method, Path: path, Action: "eks:" + name, Resource: resource, Conditions: e.conditions, Handle: h}
	}
	const (
		clusters      = "/clusters"
		one           = "/clusters/{name}"
		registrations = "/cluster-registrations"
		associations  = one + "/pod-identity-associations"
		association   = associations + "/{associationId}"
		tags          = "/tags/{resourceArn...}"
	)
	// Updating a registration is an operation of ours; whoever may register a
	// cluster may bring the record up to date.
	update := route("UpdateClusterRegistration", "POST", registrations+"/{name}", e.named, e.updateCluster)
	update.Action = "eks:RegisterCluster"
	list := []api.Route{
		route("ListClusters", "GET", clusters, e.all, e.listClusters),
		route("DescribeCluster", "GET", one, e.named, e.describeCluster),
		route("RegisterCluster", "POST", registrations, e.all, e.registerCluster),
		route("DeregisterCluster", "DELETE", registrations+"/{name}", e.named, e.deregisterCluster),
		update,
		route("CreatePodIdentityAssociation", "POST", associations, e.named, e.createAssociation),
		route("ListPodIdentityAssociations", "GET", associations, e.named, e.listAssociations),
		route("DescribePodIdentityAssociation", "GET", association, e.association, e.describeAssociation),
		route("UpdatePodIdentityAssociation", "POST", association, e.association, e.updateAssociation),
		route("DeletePodIdentityAssociation", "DELETE", association, e.association, e.deleteAssociation),
		route("TagResource", "POST", tags, e.tagged, e.tag),
		route("UntagResource", "DELETE", tags, e.tagged, e.untag),
		route("ListTagsForResource", "GET", tags, e.tagged, e.listTags),
	}
	if e.cfg.Addons == nil {
		return list
	}
	const (
		addons   = one + "/addons"
		oneAddon = addons + "/{addonName}"
	)
	return append(list,
		route("CreateAddon", "POST", addons, e.named, e.createAddon),
		route("ListAddons", "GET", addons, e.named, e.listAddons),
		route("DescribeAddon", "GET", oneAddon, e.addonARN, e.describeAddon),
		route("UpdateAddon", "POST", oneAddon+"/update", e.addonARN, e.updateAddon),
		route("DeleteAddon", "DELETE", oneAddon, e.addonARN, e.deleteAddon),
		route("DescribeUpdate", "GET", one+"/updates/{updateId}", e.named, e.describeUpdate),
		route("DescribeAddonVersions", "GET", "/addons/supported-versions", e.all, e.addonVersions),
		route("DescribeAddonConfiguration", "GET", "/addons/configuration-schemas", e.all, e.addonConfiguration),
	)
}

// The resources that routes are about.

// all is for operations on no cluster in particular, for which EKS' policies
// name every resource.
func (e *eks) all(*api.Call) (string, error) { return "*", nil }

func (e *eks) named(c *api.Call) (string, error) {
	return cluster.ARN(e.cfg.Region, c.Principal.AccountID, c.Params["name"]), nil
}

func (e *eks) association(c *api.Call) (string, error) {
	return cluster.AssociationARN(e.cfg.Region, c.Principal.AccountID, c.Params["name"], c.Params["associationId"]), nil
}

// tagActions are the operations on tags by method.
var tagActions = map[string]string{
	http.MethodPost: "eks:TagResource", http.MethodDelete: "eks:UntagResource", http.MethodGet: "eks:ListTagsForResource",
}

// tagged sets the parameters name and associationId from the ARN. It refuses an
// ARN of another account, for after it the records of the caller's own are
// looked at.
func (e *eks) tagged(c *api.Call) (string, error) {
	arn := c.Params["resourceArn"]
	region, account, name, id, ok := cluster.ParseARN(arn)
	if !ok || region != e.cfg.Region {
		return "", badTag(fmt.Sprintf("'%s' is not the ARN of a cluster or Pod Identity association in %s.", arn, e.cfg.Region))
	}
	if account != c.Principal.AccountID {
		return "", &iam.DeniedError{Principal: c.Principal.ARN, Action: tagActions[c.Request.Method], Resource: arn,
			Why: "no resource-based policy allows the " + tagActions[c.Request.Method] + " action"}
	}
	c.Params["name"], c.Params["associationId"] = name, id
	return arn, nil
}

// conditions gives the tags that a request brings and those that its resource
// has.
func (e *eks) conditions(c *api.Call) (map[string][]string, error) {
	keys := make(map[string][]string)
	if c.Request.Method == http.MethodPost {
		var in struct {
			Tags map[string]string `json:"tags"`
		}
		// What is wrong with a body is for the operation to say.
		if b, err := c.Body(); err == nil && json.Unmarshal(b, &in) == nil {
			for k, v := range in.Tags {
				keys["aws:requesttag/"+strings.ToLower(k)] = []string{v}
				keys["aws:tagkeys"] = append(keys["aws:tagkeys"], k)
			}
		}
	}
	if k := c.Request.URL.Query()["tagKeys"]; len(k) > 0 {
		keys["aws:tagkeys"] = k
	}
	tags, err := e.tagsOf(c)
	for k, v := range tags {
		keys["aws:resourcetag/"+strings.ToLower(k)] = []string{v}
	}
	return keys, err
}

// tagsOf returns the tags of the resource that a call is about, none where
// there is none.
func (e *eks) tagsOf(c *api.Call) (map[string]string, error) {
	ctx, account, name, id := c.Request.Context(), c.Principal.AccountID, c.Params["name"], c.Params["associationId"]
	var missing *cluster.NotFoundError
	switch {
	case name == "":
		return nil, nil
	case id != "":
		a, err := e.cfg.Clusters.Association(ctx, account, name, id)
		if errors.As(err, &missing) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return a.Tags, nil
	}
	cl, err := e.cfg.Clusters.Get(ctx, account, name)
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return cl.Tags, nil
}

// decode reads a JSON body, and says what is wrong with it as EKS does.
func decode(c *api.Call, into any) error {
	err := c.Decode(into)
	var bad *api.BodyError
	if errors.As(err, &bad) {
		return invalidParameter(bad.Message)
	}
	return err
}

func invalidParameter(message string) *api.Error {
	return &api.Error{Status: http.StatusBadRequest, Code: "InvalidParameterException", Message: message}
}

func badTag(message string) *api.Error {
	return &api.Error{Status: http.StatusBadRequest, Code: "BadRequestException", Message: message}
}

// toError gives errors of the records the names that EKS has for them. clusterName
// becomes a member of the answer.
func toError(err error, clusterName string) error {
	var missing *cluster.NotFoundError
	var invalid *cluster.InvalidError
	var exists *cluster.ExistsError
	var limit *cluster.LimitError
	var e *api.Error
	switch {
	case errors.As(err, &missing):
		e = &api.Error{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: missing.Message}
	case errors.As(err, &invalid):
		e = invalidParameter(invalid.Error())
	case errors.As(err, &exists):
		e = &api.Error{Status: http.StatusConflict, Code: "ResourceInUseException", Message: exists.Message}
	case errors.As(err, &limit):
		e = &api.Error{Status: http.StatusBadRequest, Code: "ResourceLimitExceededException", Message: limit.Message}
	default:
		return err
	}
	if clusterName != "" {
		e.Extra = map[string]any{"clusterName": clusterName}
	}
	return e
}

// tagError does so for the operations on tags, which have names of their own.
func tagError(err error) error {
	var e *api.Error
	if !errors.As(toError(err, ""), &e) {
		return err
	}
	if e.Status == http.StatusNotFound {
		return &api.Error{Status: e.Status, Code: "NotFoundException", Message: e.Message}
	}
	return badTag(e.Message)
}

// seconds writes a time as AWS' JSON has it, the milliseconds as fraction.
func seconds(t time.Time) json.RawMessage {
	return json.RawMessage(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
}

func intParam(c *api.Call, name string) (int, error) {
	s := c.Request.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n == 0 {
		return 0, invalidParameter(name + ": must be a number between 1 and 100")
	}
	return n, nil
}

func (e *eks) tag(w http.ResponseWriter, c *api.Call) error {
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if err := decode(c, &in); err != nil {
		return tagError(err)
	}
	if len(in.Tags) == 0 {
		return badTag("tags: is required")
	}
	ctx, account, name, id := c.Request.Context(), c.Principal.AccountID, c.Params["name"], c.Params["associationId"]
	var err error
	if id != "" {
		err = e.cfg.Clusters.TagAssociation(ctx, account, name, id, in.Tags)
	} else {
		err = e.cfg.Clusters.Tag(ctx, account, name, in.Tags)
	}
	if err != nil {
		return tagError(err)
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
	return nil
}

func (e *eks) untag(w http.ResponseWriter, c *api.Call) error {
	keys := c.Request.URL.Query()["tagKeys"]
	if len(keys) == 0 {
		return badTag("tagKeys: is required")
	}
	ctx, account, name, id := c.Request.Context(), c.Principal.AccountID, c.Params["name"], c.Params["associationId"]
	var err error
	if id != "" {
		err = e.cfg.Clusters.UntagAssociation(ctx, account, name, id, keys)
	} else {
		err = e.cfg.Clusters.Untag(ctx, account, name, keys)
	}
	if err != nil {
		return tagError(err)
	}
	api.WriteJSON(w, http.StatusOK, struct{}{})
	return nil
}

func (e *eks) listTags(w http.ResponseWriter, c *api.Call) error {
	ctx, account, name, id := c.Request.Context(), c.Principal.AccountID, c.Params["name"], c.Params["associationId"]
	var tags map[string]string
	if id != "" {
		a, err := e.cfg.Clusters.Association(ctx, account, name, id)
		if err != nil {
			return tagError(err)
		}
		tags = a.Tags
	} else {
		cl, err := e.cfg.Clusters.Get(ctx, account, name)
		if err != nil {
			return tagError(err)
		}
		tags = cl.Tags
	}
	api.WriteJSON(w, http.StatusOK, map[string]map[string]string{"tags": tags})
	return nil
}
