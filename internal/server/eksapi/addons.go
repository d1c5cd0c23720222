package eksapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/addon"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/cluster"
)

type addonJSON struct {
	Name          string            `json:"addonName"`
	ClusterName   string            `json:"clusterName"`
	Status        addon.Status      `json:"status"`
	Version       string            `json:"addonVersion"`
	Health        addonHealth       `json:"health"`
	ARN           string            `json:"addonArn"`
	CreatedAt     json.RawMessage   `json:"createdAt"`
	ModifiedAt    json.RawMessage   `json:"modifiedAt"`
	RoleARN       string            `json:"serviceAccountRoleArn,omitempty"`
	Tags          map[string]string `json:"tags"`
	Publisher     string            `json:"publisher"`
	Owner         string            `json:"owner"`
	Configuration string            `json:"configurationValues,omitempty"`
}

type addonHealth struct {
	Issues []addon.Issue `json:"issues"`
}

const publisher = "mangru"

func writeAddon(w http.ResponseWriter, a *addon.Addon) {
	issues := a.Issues
	if issues == nil {
		issues = []addon.Issue{}
	}
	api.WriteJSON(w, http.StatusOK, map[string]addonJSON{"addon": {
		Name: a.Name, ClusterName: a.Cluster.Name, Status: a.Status, Version: a.Version, Health: addonHealth{issues}, ARN: a.ARN(),
		CreatedAt: seconds(a.CreatedAt), ModifiedAt: seconds(a.ModifiedAt), RoleARN: a.RoleARN, Tags: a.Tags,
		Publisher: publisher, Owner: publisher, Configuration: a.Configuration,
	}})
}

type updateJSON struct {
	ID        string              `json:"id"`
	Status    string              `json:"status"`
	Type      string              `json:"type"`
	Params    []addon.Param       `json:"params"`
	CreatedAt json.RawMessage     `json:"createdAt"`
	Errors    []addon.UpdateError `json:"errors"`
}

func writeUpdate(w http.ResponseWriter, u *addon.Update) {
	api.WriteJSON(w, http.StatusOK, map[string]updateJSON{"update": {
		ID: u.ID, Status: u.Status, Type: "AddonUpdate", Params: u.Params, CreatedAt: seconds(u.CreatedAt), Errors: u.Errors,
	}})
}

// addonARN names an add-on in policies. Its id is found out where there is one.
func (e *eks) addonARN(c *api.Call) (string, error) {
	return addon.ARN(&cluster.Cluster{Region: e.cfg.Region, AccountID: c.Principal.AccountID, Name: c.Params["name"]}, c.Params["addonName"], "*"), nil
}

type addonRequest struct {
	Name          string            `json:"addonName"`
	Version       *string           `json:"addonVersion"`
	RoleARN       *string           `json:"serviceAccountRoleArn"`
	Conflicts     string            `json:"resolveConflicts"`
	Token         string            `json:"clientRequestToken"`
	Tags          map[string]string `json:"tags"`
	Configuration *string           `json:"configurationValues"`
	PodIdentity   []json.RawMessage `json:"podIdentityAssociations"`
	Namespace     *struct {
		Namespace string `json:"namespace"`
	} `json:"namespaceConfig"`
}

// spec checks what is asked for, and whether the caller may hand over the role.
func (e *eks) spec(c *api.Call, in *addonRequest) (addon.Spec, error) {
	switch {
	case len(in.PodIdentity) > 0:
		return addon.Spec{}, invalidParameter("podIdentityAssociations: not with an add-on here; create the association itself, for service account adot-operator in namespace " + addonNamespace)
	case in.Namespace != nil && in.Namespace.Namespace != addonNamespace:
		return addon.Spec{}, invalidParameter("namespaceConfig.namespace: allowed is " + addonNamespace)
	}
	if r := in.RoleARN; r != nil && *r != "" {
		if accountOfRole(*r) != c.Principal.AccountID {
			return addon.Spec{}, invalidParameter("serviceAccountRoleArn: the role must be in the cluster's account")
		}
		if err := e.cfg.Roles.PassRole(c.Request.Context(), iam.Request{Principal: c.Principal, Context: c.Context}, *r, "eks.amazonaws.com"); err != nil {
			return addon.Spec{}, err
		}
	}
	return addon.Spec{Version: in.Version, RoleARN: in.RoleARN, Configuration: in.Configuration, Conflicts: in.Conflicts}, nil
}

// addonNamespace is where EKS has it.
const addonNamespace = "opentelemetry-operator-system"

func (e *eks) createAddon(w http.ResponseWriter, c *api.Call) error {
	var in addonRequest
	if err := decode(c, &in); err != nil {
		return err
	}
	spec, err := e.spec(c, &in)
	if err != nil {
		return err
	}
	name := c.Params["name"]
	a, err := e.cfg.Addons.Create(c.Request.Context(), c.Principal.AccountID, name, in.Name, spec, in.Tags, in.Token)
	if err != nil {
		return addonError(err, name, in.Name)
	}
	writeAddon(w, a)
	return nil
}

func addonError(err error, clusterName, name string) error {
	err = toError(err, clusterName)
	var e *api.Error
	if errors.As(err, &e) && e.Extra != nil {
		e.Extra["addonName"] = name
	}
	return err
}

func (e *eks) describeAddon(w http.ResponseWriter, c *api.Call) error {
	a, err := e.cfg.Addons.Get(c.Request.Context(), c.Principal.AccountID, c.Params["name"], c.Params["addonName"])
	if err != nil {
		return addonError(err, c.Params["name"], c.Params["addonName"])
	}
	writeAddon(w, a)
	return nil
}

func (e *eks) listAddons(w http.ResponseWriter, c *api.Call) error {
	if _, err := intParam(c, "maxResults"); err != nil {
		return err
	}
	list, err := e.cfg.Addons.List(c.Request.Context(), c.Principal.AccountID, c.Params["name"])
	if err != nil {
		return toError(err, c.Params["name"])
	}
	names := make([]string, 0, len(list))
	for _, a := range list {
		names = append(names, a.Name)
	}
	api.WriteJSON(w, http.StatusOK, map[string][]string{"addons": names})
	return nil
}

func (e *eks) deleteAddon(w http.ResponseWriter, c *api.Call) error {
	preserve := c.Request.URL.Query().Get("preserve") == "true"
	a, err := e.cfg.Addons.Delete(c.Request.Context(), c.Principal.AccountID, c.Params["name"], c.Params["addonName"], preserve)
	if err != nil {
		return addonError(err, c.Params["name"], c.Params["addonName"])
	}
	writeAddon(w, a)
	return nil
}

func (e *eks) updateAddon(w http.ResponseWriter, c *api.Call) error {
	var in addonRequest
	if err := decode(c, &in); err != nil {
		return err
	}
	spec, err := e.spec(c, &in)
	if err != nil {
		return err
	}
	u, err := e.cfg.Addons.Change(c.Request.Context(), c.Principal.AccountID, c.Params["name"], c.Params["addonName"], spec)
	if err != nil {
		return addonError(err, c.Params["name"], c.Params["addonName"])
	}
	writeUpdate(w, u)
	return nil
}

func (e *eks) describeUpdate(w http.ResponseWriter, c *api.Call) error {
	name := c.Request.URL.Query().Get("addonName")
	if name == "" {
		return toError(&cluster.NotFoundError{Message: "No update found for ID: " + c.Params["updateId"] + ". Name its add-on (addonName): clusters and node groups are not updated here."}, c.Params["name"])
	}
	u, err := e.cfg.Addons.GetUpdate(c.Request.Context(), c.Principal.AccountID, c.Params["name"], name, c.Params["updateId"])
	if err != nil {
		return addonError(err, c.Params["name"], name)
	}
	writeUpdate(w, u)
	return nil
}

type addonInfoJSON struct {
	Name      string             `json:"addonName"`
	Type      string             `json:"type"`
	Publisher string             `json:"publisher"`
	Owner     string             `json:"owner"`
	Namespace string             `json:"defaultNamespace"`
	Versions  []addonVersionJSON `json:"addonVersions"`
}

type addonVersionJSON struct {
	Version       string              `json:"addonVersion"`
	Architecture  []string            `json:"architecture"`
	Compute       []string            `json:"computeTypes"`
	Compatible    []compatibilityJSON `json:"compatibilities"`
	Configuration bool                `json:"requiresConfiguration"`
	IAM           bool                `json:"requiresIamPermissions"`
}

type compatibilityJSON struct {
	ClusterVersion   string   `json:"clusterVersion"`
	PlatformVersions []string `json:"platformVersions"`
	Default          bool     `json:"defaultVersion"`
}

func (e *eks) addonVersions(w http.ResponseWriter, c *api.Call) error {
	q := c.Request.URL.Query()
	out := []addonInfoJSON{}
	wanted := func(key string, values ...string) bool {
		asked := q[key]
		return len(asked) == 0 || slices.ContainsFunc(asked, func(a string) bool { return slices.Contains(values, a) })
	}
	if wanted("addonName", addon.Name) && wanted("types", "observability") && wanted("publishers", publisher) && wanted("owners", publisher) {
		version := q.Get("kubernetesVersion")
		if version == "" {
			version = "*"
		}
		info := addonInfoJSON{Name: addon.Name, Type: "observability", Publisher: publisher, Owner: publisher, Namespace: addonNamespace}
		for i, v := range addon.Versions() {
			info.Versions = append(info.Versions, addonVersionJSON{
				Version: v, Architecture: []string{"amd64", "arm64"}, Compute: []string{"ec2"},
				Compatible: []compatibilityJSON{{ClusterVersion: version, PlatformVersions: []string{"*"}, Default: i == 0}},
			})
		}
		out = append(out, info)
	}
	api.WriteJSON(w, http.StatusOK, map[string][]addonInfoJSON{"addons": out})
	return nil
}

func (e *eks) addonConfiguration(w http.ResponseWriter, c *api.Call) error {
	name, version := c.Request.URL.Query().Get("addonName"), c.Request.URL.Query().Get("addonVersion")
	switch {
	case name != addon.Name:
		return invalidParameter("addonName: allowed is " + addon.Name)
	case !slices.Contains(addon.Versions(), version):
		return addonError(&cluster.NotFoundError{Message: "No configuration schema found for addon version " + version}, "", name)
	}
	api.WriteJSON(w, http.StatusOK, struct {
		Name     string   `json:"addonName"`
		Version  string   `json:"addonVersion"`
		Schema   string   `json:"configurationSchema"`
		Identity []string `json:"podIdentityConfiguration"`
	}{name, version, addon.ConfigurationSchema, []string{}})
	return nil
}
