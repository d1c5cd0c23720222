package eksapi

import (
	"encoding/json"
	"net/http"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/cluster"
)

// summaryJSON is an association as lists have it.
type summaryJSON struct {
	ClusterName    string `json:"clusterName"`
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	AssociationARN string `json:"associationArn"`
	AssociationID  string `json:"associationId"`
}

type associationJSON struct {
	summaryJSON
	RoleARN            string            `json:"roleArn"`
	TargetRoleARN      string            `json:"targetRoleArn,omitempty"`
	ExternalID         string            `json:"externalId,omitempty"`
	DisableSessionTags bool              `json:"disableSessionTags"`
	Policy             string            `json:"policy,omitempty"`
	Tags               map[string]string `json:"tags"`
	CreatedAt          json.RawMessage   `json:"createdAt"`
	ModifiedAt         json.RawMessage   `json:"modifiedAt"`
}

func summarize(a *cluster.Association) summaryJSON {
	return summaryJSON{ClusterName: a.Cluster.Name, Namespace: a.Namespace, ServiceAccount: a.ServiceAccount,
		AssociationARN: a.ARN(), AssociationID: a.ID}
}

func writeAssociation(w http.ResponseWriter, a *cluster.Association) {
	api.WriteJSON(w, http.StatusOK, map[string]associationJSON{"association": {
		summaryJSON: summarize(a), RoleARN: a.RoleARN, TargetRoleARN: a.TargetRoleARN, ExternalID: a.ExternalID(),
		DisableSessionTags: a.NoSessionTags, Policy: a.Policy, Tags: a.Tags,
		CreatedAt: seconds(a.CreatedAt), ModifiedAt: seconds(a.ModifiedAt)}})
}

func (e *eks) createAssociation(w http.ResponseWriter, c *api.Call) error {
	var in struct {
		Namespace          string            `json:"namespace"`
		ServiceAccount     string            `json:"serviceAccount"`
		RoleARN            string            `json:"roleArn"`
		TargetRoleARN      string            `json:"targetRoleArn"`
		DisableSessionTags bool              `json:"disableSessionTags"`
		Policy             string            `json:"policy"`
		Tags               map[string]string `json:"tags"`
		Token              string            `json:"clientRequestToken"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	name := c.Params["name"]
	if err := e.mayUse(c, in.RoleARN); err != nil {
		return err
	}
	a, err := e.cfg.Clusters.Associate(c.Request.Context(), c.Principal.AccountID, name, cluster.AssociateInput{
		Namespace: in.Namespace, ServiceAccount: in.ServiceAccount, RoleARN: in.RoleARN, TargetRoleARN: in.TargetRoleARN,
		Policy: in.Policy, NoSessionTags: in.DisableSessionTags, Tags: in.Tags, ClientToken: in.Token})
	if err != nil {
		return toError(err, name)
	}
	writeAssociation(w, a)
	return nil
}

// mayUse refuses roles that the caller may not hand on. The target role is not
// handed on: the role assumes it by its own permissions.
func (e *eks) mayUse(c *api.Call, roleARN string) error {
	if roleARN == "" {
		return invalidParameter("roleArn: is required")
	}
	if accountOfRole(roleARN) != c.Principal.AccountID {
		return invalidParameter("roleArn: the role must be in the cluster's account; name one of another account as targetRoleArn")
	}
	return e.cfg.Roles.PassRole(c.Request.Context(), iam.Request{Principal: c.Principal, Context: c.Context}, roleARN, podService)
}

func (e *eks) listAssociations(w http.ResponseWriter, c *api.Call) error {
	limit, err := intParam(c, "maxResults")
	if err != nil {
		return err
	}
	name, q := c.Params["name"], c.Request.URL.Query()
	list, next, err := e.cfg.Clusters.Associations(c.Request.Context(), c.Principal.AccountID, name, cluster.ListAssociationsInput{
		Namespace: q.Get("namespace"), ServiceAccount: q.Get("serviceAccount"), MaxResults: limit, NextToken: q.Get("nextToken")})
	if err != nil {
		return toError(err, name)
	}
	out := struct {
		Associations []summaryJSON `json:"associations"`
		NextToken    string        `json:"nextToken,omitempty"`
	}{make([]summaryJSON, 0, len(list)), next}
	for _, a := range list {
		out.Associations = append(out.Associations, summarize(a))
	}
	api.WriteJSON(w, http.StatusOK, out)
	return nil
}

func (e *eks) describeAssociation(w http.ResponseWriter, c *api.Call) error {
	name := c.Params["name"]
	a, err := e.cfg.Clusters.Association(c.Request.Context(), c.Principal.AccountID, name, c.Params["associationId"])
	if err != nil {
		return toError(err, name)
	}
	writeAssociation(w, a)
	return nil
}

func (e *eks) updateAssociation(w http.ResponseWriter, c *api.Call) error {
	var in struct {
		RoleARN            *string `json:"roleArn"`
		TargetRoleARN      *string `json:"targetRoleArn"`
		DisableSessionTags *bool   `json:"disableSessionTags"`
		Policy             *string `json:"policy"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	if in.RoleARN != nil {
		if err := e.mayUse(c, *in.RoleARN); err != nil {
			return err
		}
	}
	name := c.Params["name"]
	a, err := e.cfg.Clusters.UpdateAssociation(c.Request.Context(), c.Principal.AccountID, name, c.Params["associationId"],
		cluster.UpdateAssociationInput{RoleARN: in.RoleARN, TargetRoleARN: in.TargetRoleARN, Policy: in.Policy, NoSessionTags: in.DisableSessionTags})
	if err != nil {
		return toError(err, name)
	}
	writeAssociation(w, a)
	return nil
}

func (e *eks) deleteAssociation(w http.ResponseWriter, c *api.Call) error {
	name := c.Params["name"]
	a, err := e.cfg.Clusters.Dissociate(c.Request.Context(), c.Principal.AccountID, name, c.Params["associationId"])
	if err != nil {
		return toError(err, name)
	}
	writeAssociation(w, a)
	return nil
}
