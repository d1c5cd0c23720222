package amgapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/server/api"
)

type authenticationJSON struct {
	Providers  []string `json:"providers"`
	SAMLStatus string   `json:"samlConfigurationStatus,omitempty"`
}

type summaryJSON struct {
	ID                       string             `json:"id"`
	Name                     string             `json:"name,omitempty"`
	Description              string             `json:"description,omitempty"`
	Endpoint                 string             `json:"endpoint"`
	Status                   workspaces.Status  `json:"status"`
	GrafanaVersion           string             `json:"grafanaVersion"`
	Authentication           authenticationJSON `json:"authentication"`
	NotificationDestinations []string           `json:"notificationDestinations"`
	Tags                     map[string]string  `json:"tags"`
	Created                  json.RawMessage    `json:"created"`
	Modified                 json.RawMessage    `json:"modified"`
}

type workspaceJSON struct {
	summaryJSON
	AccountAccessType string   `json:"accountAccessType"`
	PermissionType    string   `json:"permissionType"`
	RoleARN           string   `json:"workspaceRoleArn,omitempty"`
	DataSources       []string `json:"dataSources"`
}

func samlStatus(w *workspaces.Workspace) string {
	switch {
	case !slices.Contains(w.Spec.Providers, workspaces.ProviderSAML):
		return ""
	case w.Spec.SAML == nil:
		return "NOT_CONFIGURED"
	}
	return "CONFIGURED"
}

func (a *amg) summary(w *workspaces.Workspace) summaryJSON {
	destinations := w.Spec.NotificationDestinations
	if destinations == nil {
		destinations = []string{}
	}
	return summaryJSON{ID: w.ID, Name: w.Name, Description: w.Spec.Description, Endpoint: a.Endpoint(w), Status: w.Status,
		GrafanaVersion: w.Spec.GrafanaVersion, Authentication: authenticationJSON{w.Spec.Providers, samlStatus(w)},
		NotificationDestinations: destinations, Tags: w.Tags, Created: seconds(w.Created), Modified: seconds(w.Modified)}
}

func (a *amg) answer(w *workspaces.Workspace) any {
	return struct {
		Workspace workspaceJSON `json:"workspace"`
	}{workspaceJSON{a.summary(w), w.Spec.AccountAccessType, w.Spec.PermissionType, w.Spec.RoleARN, w.Spec.DataSources}}
}

// requestJSON is what creation and update have in common. Members that are nil
// were not given.
type requestJSON struct {
	AccountAccessType        *string   `json:"accountAccessType"`
	PermissionType           *string   `json:"permissionType"`
	Name                     *string   `json:"workspaceName"`
	Description              *string   `json:"workspaceDescription"`
	RoleARN                  *string   `json:"workspaceRoleArn"`
	DataSources              *[]string `json:"workspaceDataSources"`
	NotificationDestinations *[]string `json:"workspaceNotificationDestinations"`

	// What cannot be had here is refused: a promise of protection that is not
	// kept would be worse.
	OrganizationRoleName *string         `json:"organizationRoleName"`
	OrganizationalUnits  *[]string       `json:"workspaceOrganizationalUnits"`
	StackSetName         *string         `json:"stackSetName"`
	VPC                  json.RawMessage `json:"vpcConfiguration"`
	Network              json.RawMessage `json:"networkAccessControl"`
	IPAddressType        *string         `json:"ipAddressType"`
	KMSKeyID             *string         `json:"kmsKeyId"`
}

func (in *requestJSON) unsupported() error {
	given := func(m json.RawMessage) bool { return len(m) > 0 && string(m) != "null" }
	for _, f := range []struct {
		name  string
		given bool
		why   string
	}{
		{"organizationRoleName", in.OrganizationRoleName != nil, "accounts have no organisation here"},
		{"workspaceOrganizationalUnits", in.OrganizationalUnits != nil && len(*in.OrganizationalUnits) > 0, "accounts have no organisation here"},
		{"stackSetName", in.StackSetName != nil, "there are no stack sets here"},
		{"vpcConfiguration", given(in.VPC), "there are no VPCs here: data sources are reached from where the server runs"},
		{"networkAccessControl", given(in.Network), "restrict who reaches the server at its network or proxy"},
		{"ipAddressType", in.IPAddressType != nil && *in.IPAddressType != "IPV4", "allowed is IPV4"},
		{"kmsKeyId", in.KMSKeyID != nil, "secrets are encrypted with the server's own key (setting secrets)"},
	} {
		if f.given {
			return invalid(f.name, "is not supported: "+f.why)
		}
	}
	return nil
}

// apply changes a spec to what was asked for and returns the name, if one was
// given.
func (in *requestJSON) apply(c *workspaces.Spec, name *string) {
	for to, from := range map[*string]*string{
		&c.AccountAccessType: in.AccountAccessType, &c.PermissionType: in.PermissionType, &c.Description: in.Description, &c.RoleARN: in.RoleARN, name: in.Name,
	} {
		if from != nil {
			*to = *from
		}
	}
	if in.DataSources != nil {
		c.DataSources = *in.DataSources
	}
	if in.NotificationDestinations != nil {
		c.NotificationDestinations = *in.NotificationDestinations
	}
}

// mayPass demands that the caller may hand the role that is asked for to the
// service.
func (a *amg) mayPass(c *api.Call, role *string) error {
	if role == nil || *role == "" {
		return nil
	}
	return a.Roles.PassRole(c.Request.Context(), iam.Request{Principal: c.Principal, Context: c.Context}, *role, passTo)
}

func (a *amg) createWorkspace(c *api.Call) (int, any, error) {
	var in struct {
		requestJSON
		Providers      []string          `json:"authenticationProviders"`
		Configuration  string            `json:"configuration"`
		GrafanaVersion string            `json:"grafanaVersion"`
		ClientToken    string            `json:"clientToken"`
		Tags           map[string]string `json:"tags"`
	}
	if err := decode(c, &in); err != nil {
		return 0, nil, err
	}
	if in.AccountAccessType == nil {
		return 0, nil, invalid("accountAccessType", "is required")
	}
	if in.PermissionType == nil {
		return 0, nil, invalid("permissionType", "is required")
	}
	if err := in.unsupported(); err != nil {
		return 0, nil, err
	}
	if err := a.mayPass(c, in.RoleARN); err != nil {
		return 0, nil, err
	}
	create := workspaces.CreateInput{Tags: in.Tags, ClientToken: in.ClientToken,
		Spec: workspaces.Spec{Providers: in.Providers, Configuration: in.Configuration, GrafanaVersion: in.GrafanaVersion}}
	in.apply(&create.Spec, &create.Name)
	w, err := a.Workspaces.Create(c.Request.Context(), c.Principal.AccountID, create)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusAccepted, a.answer(w), nil
}

func (a *amg) listWorkspaces(c *api.Call) (int, any, error) {
	p, err := pageOf(c)
	if err != nil {
		return 0, nil, err
	}
	list, next, err := a.Workspaces.List(c.Request.Context(), c.Principal.AccountID, p)
	if err != nil {
		return 0, nil, err
	}
	out := struct {
		Workspaces []summaryJSON `json:"workspaces"`
		NextToken  string        `json:"nextToken,omitempty"`
	}{make([]summaryJSON, 0, len(list)), next}
	for _, w := range list {
		out.Workspaces = append(out.Workspaces, a.summary(w))
	}
	return http.StatusOK, out, nil
}

func (a *amg) describeWorkspace(c *api.Call) (int, any, error) {
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, a.answer(w), nil
}

func (a *amg) updateWorkspace(c *api.Call) (int, any, error) {
	var in struct {
		requestJSON
		// There is nothing to remove.
		RemoveVPC     bool `json:"removeVpcConfiguration"`
		RemoveNetwork bool `json:"removeNetworkAccessConfiguration"`
	}
	if err := decode(c, &in); err != nil {
		return 0, nil, err
	}
	if err := in.unsupported(); err != nil {
		return 0, nil, err
	}
	if err := a.mayPass(c, in.RoleARN); err != nil {
		return 0, nil, err
	}
	w, err := a.Workspaces.Change(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], func(w *workspaces.Workspace) error {
		in.apply(&w.Spec, &w.Name)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusAccepted, a.answer(w), nil
}

func (a *amg) deleteWorkspace(c *api.Call) (int, any, error) {
	w, err := a.Workspaces.Delete(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"])
	if err != nil {
		return 0, nil, err
	}
	return http.StatusAccepted, a.answer(w), nil
}

func (a *amg) authentication(w *workspaces.Workspace) any {
	type sso struct {
		ClientID string `json:"ssoClientId,omitempty"`
	}
	type saml struct {
		Status        string           `json:"status"`
		Configuration *workspaces.SAML `json:"configuration,omitempty"`
	}
	type body struct {
		Providers []string `json:"providers"`
		SAML      *saml    `json:"saml,omitempty"`
		SSO       *sso     `json:"awsSso,omitempty"`
	}
	out := body{Providers: w.Spec.Providers}
	if status := samlStatus(w); status != "" {
		out.SAML = &saml{status, w.Spec.SAML}
	}
	if slices.Contains(w.Spec.Providers, workspaces.ProviderSSO) {
		out.SSO = &sso{w.ID}
	}
	return map[string]any{"authentication": out}
}

func (a *amg) describeAuthentication(c *api.Call) (int, any, error) {
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, a.authentication(w), nil
}

func (a *amg) updateAuthentication(c *api.Call) (int, any, error) {
	var in struct {
		Providers []string         `json:"authenticationProviders"`
		SAML      *workspaces.SAML `json:"samlConfiguration"`
	}
	if err := decode(c, &in); err != nil {
		return 0, nil, err
	}
	w, err := a.Workspaces.UpdateAuthentication(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], in.Providers, in.SAML)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, a.authentication(w), nil
}

func (a *amg) describeConfiguration(c *api.Call) (int, any, error) {
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]string{"configuration": w.Spec.Configuration, "grafanaVersion": w.Spec.GrafanaVersion}, nil
}

func (a *amg) updateConfiguration(c *api.Call) (int, any, error) {
	var in struct {
		Configuration  string `json:"configuration"`
		GrafanaVersion string `json:"grafanaVersion"`
	}
	if err := decode(c, &in); err != nil {
		return 0, nil, err
	}
	err := a.Workspaces.UpdateConfiguration(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], in.Configuration, in.GrafanaVersion)
	return http.StatusAccepted, struct{}{}, err
}

func (a *amg) listVersions(c *api.Call) (int, any, error) {
	present := ""
	if versionsOf(c) != "" {
		w, err := a.workspace(c)
		if err != nil {
			return 0, nil, err
		}
		present = w.Spec.GrafanaVersion
	}
	return http.StatusOK, map[string]any{"grafanaVersions": workspaces.Versions(present)}, nil
}

// license takes licences, which nothing here needs.
func (a *amg) license(c *api.Call) (int, any, error) {
	if kind := c.Params["licenseType"]; kind != "ENTERPRISE" && kind != "ENTERPRISE_FREE_TRIAL" {
		return 0, nil, invalid("licenseType", "allowed are ENTERPRISE and ENTERPRISE_FREE_TRIAL")
	}
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusAccepted, a.answer(w), nil
}

func (a *amg) tag(c *api.Call) (int, any, error) {
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if err := decode(c, &in); err != nil {
		return 0, nil, err
	}
	if in.Tags == nil {
		return 0, nil, invalid("tags", "is required")
	}
	return http.StatusOK, struct{}{}, a.Workspaces.Tag(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], in.Tags)
}

func (a *amg) untag(c *api.Call) (int, any, error) {
	keys := c.Request.URL.Query()["tagKeys"]
	if len(keys) == 0 {
		return 0, nil, invalid("tagKeys", "is required")
	}
	return http.StatusOK, struct{}{}, a.Workspaces.Untag(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], keys)
}

func (a *amg) listTags(c *api.Call) (int, any, error) {
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"tags": maps.Clone(w.Tags)}, nil
}
