package workspaces

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Spec is what a workspace was asked to be. Names of members are those of the
// API.
type Spec struct {
	AccountAccessType        string   `json:"accountAccessType"`
	PermissionType           string   `json:"permissionType"`
	Description              string   `json:"description,omitempty"`
	RoleARN                  string   `json:"workspaceRoleArn,omitempty"`
	DataSources              []string `json:"dataSources"`
	NotificationDestinations []string `json:"notificationDestinations,omitempty"`
	GrafanaVersion           string   `json:"grafanaVersion"`
	// Configuration is a JSON object; see UpdateConfiguration.
	Configuration string   `json:"configuration"`
	Providers     []string `json:"providers"`
	SAML          *SAML    `json:"saml,omitempty"`
}

// SAML says how a SAML identity provider is talked to, and what its assertions
// mean.
type SAML struct {
	Metadata struct {
		URL string `json:"url,omitempty"`
		XML string `json:"xml,omitempty"`
	} `json:"idpMetadata"`
	Attributes *struct {
		Name   string `json:"name,omitempty"`
		Login  string `json:"login,omitempty"`
		Email  string `json:"email,omitempty"`
		Groups string `json:"groups,omitempty"`
		Role   string `json:"role,omitempty"`
		Org    string `json:"org,omitempty"`
	} `json:"assertionAttributes,omitempty"`
	RoleValues *struct {
		Editor []string `json:"editor,omitempty"`
		Admin  []string `json:"admin,omitempty"`
	} `json:"roleValues,omitempty"`
	AllowedOrganizations []string `json:"allowedOrganizations,omitempty"`
	// LoginValidityDuration is in minutes.
	LoginValidityDuration int `json:"loginValidityDuration,omitempty"`
}

// versions are the Grafana versions that may be asked for, oldest first. What is
// served is one and the same: the newest; a version is kept so that tools find
// what they set.
var versions = []string{"8.4", "9.4", "10.4", "12.4"}

// Versions returns the versions that a workspace may be asked to be of; those
// newer than present, or all for "".
func Versions(present string) []string {
	return slices.Clone(versions[slices.Index(versions, present)+1:])
}

const defaultConfiguration = `{"plugins":{"pluginAdminEnabled":false},"unifiedAlerting":{"enabled":true}}`

var (
	namePattern = regexp.MustCompile(`^[a-zA-Z0-9._~-]{1,255}$`)
	dataSources = []string{"AMAZON_OPENSEARCH_SERVICE", "CLOUDWATCH", "PROMETHEUS", "XRAY", "TIMESTREAM", "SITEWISE", "ATHENA", "REDSHIFT", "TWINMAKER"}
)

func (c Spec) text() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("BUG: a workspace's record is not JSON: " + err.Error())
	}
	return string(b)
}

func oneOf(field, found string, allowed ...string) error {
	if slices.Contains(allowed, found) {
		return nil
	}
	return &InvalidError{field, fmt.Sprintf("found '%.100s', allowed are %s", found, strings.Join(allowed, ", "))}
}

func allOf(field string, found []string, allowed ...string) error {
	for i, f := range found {
		if err := oneOf(field, f, allowed...); err != nil {
			return err
		}
		if slices.Contains(found[:i], f) {
			return &InvalidError{field, "names " + f + " twice"}
		}
	}
	return nil
}

func checkName(name string) error {
	if name != "" && !namePattern.MatchString(name) {
		return &InvalidError{"workspaceName", "allowed are 1 to 255 letters, digits and the characters - . _ ~"}
	}
	return nil
}

// complete checks a spec and fills in what has a default.
func (c *Spec) complete() error {
	if c.GrafanaVersion == "" {
		c.GrafanaVersion = versions[len(versions)-1]
	}
	if c.Configuration == "" {
		c.Configuration = defaultConfiguration
	}
	if c.DataSources == nil {
		c.DataSources = []string{}
	}
	if c.AccountAccessType == "ORGANIZATION" {
		return &InvalidError{"accountAccessType", "found 'ORGANIZATION', allowed is CURRENT_ACCOUNT: accounts have no organisation here"}
	}
	checks := []error{
		oneOf("accountAccessType", c.AccountAccessType, "CURRENT_ACCOUNT"),
		oneOf("permissionType", c.PermissionType, "CUSTOMER_MANAGED", "SERVICE_MANAGED"),
		oneOf("grafanaVersion", c.GrafanaVersion, versions...),
		allOf("workspaceDataSources", c.DataSources, dataSources...),
		allOf("workspaceNotificationDestinations", c.NotificationDestinations, "SNS"),
		checkProviders(c.Providers),
		checkConfiguration(c.Configuration),
	}
	if utf8.RuneCountInString(c.Description) > 2048 {
		checks = append(checks, &InvalidError{"workspaceDescription", "allowed are at most 2048 characters"})
	}
	if len(c.RoleARN) > 2048 {
		checks = append(checks, &InvalidError{"workspaceRoleArn", "allowed are at most 2048 characters"})
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkProviders(list []string) error {
	if len(list) == 0 {
		return &InvalidError{"authenticationProviders", "is required"}
	}
	return allOf("authenticationProviders", list, ProviderSSO, ProviderSAML)
}

func checkConfiguration(text string) error {
	var object map[string]any
	if len(text) < 2 || len(text) > 65536 || json.Unmarshal([]byte(text), &object) != nil || object == nil {
		return &InvalidError{"configuration", "is not a JSON object of 2 to 65536 characters"}
	}
	for section, v := range object {
		var known []string
		switch section {
		case "plugins":
			known = []string{"pluginAdminEnabled"}
		case "unifiedAlerting":
			known = []string{"enabled"}
		default:
			return &InvalidError{"configuration", fmt.Sprintf("found '%.100s', allowed are plugins and unifiedAlerting", section)}
		}
		members, ok := v.(map[string]any)
		if !ok {
			return &InvalidError{"configuration", section + " is not an object"}
		}
		for name, value := range members {
			if err := oneOf("configuration", name, known...); err != nil {
				return err
			}
			if _, ok := value.(bool); !ok {
				return &InvalidError{"configuration", section + "." + name + " is not true or false"}
			}
		}
	}
	return nil
}

func (m *SAML) check() error {
	md := m.Metadata
	switch {
	case (md.URL == "") == (md.XML == ""):
		return &InvalidError{"samlConfiguration.idpMetadata", "has to be a url or xml, one of them"}
	case md.URL != "":
		if u, err := url.Parse(md.URL); err != nil || u.Scheme != "https" || u.Host == "" || len(md.URL) > 2048 {
			return &InvalidError{"samlConfiguration.idpMetadata.url", "is not a URL that begins with https://"}
		}
	case !strings.Contains(md.XML, "EntityDescriptor") || len(md.XML) > 1<<20:
		return &InvalidError{"samlConfiguration.idpMetadata.xml", "is not the metadata of an identity provider (EntityDescriptor)"}
	}
	if m.LoginValidityDuration < 0 || m.LoginValidityDuration > 90*24*60 {
		return &InvalidError{"samlConfiguration.loginValidityDuration", "allowed are 1 to 129600 minutes"}
	}
	if m.RoleValues != nil && len(m.RoleValues.Admin) == 0 && len(m.RoleValues.Editor) > 0 {
		return &InvalidError{"samlConfiguration.roleValues.admin", "is required where there are roles: somebody has to be an administrator"}
	}
	return nil
}

func checkTags(tags map[string]string) error {
	if len(tags) > 50 {
		return &InvalidError{"tags", fmt.Sprintf("has %d entries, allowed are 50", len(tags))}
	}
	for k, v := range tags {
		switch {
		case k == "" || utf8.RuneCountInString(k) > 128:
			return &InvalidError{"tags", "keys have 1 to 128 characters"}
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return &InvalidError{"tags", "keys that begin with aws: are reserved"}
		case utf8.RuneCountInString(v) > 256:
			return &InvalidError{"tags", "values have at most 256 characters"}
		}
	}
	return nil
}
