package policy

import (
	"embed"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ManagedPolicy is one of AWS' own policies. They are the same in all accounts
// and nobody can change them.
type ManagedPolicy struct {
	// Name, ID (ANPA…), Path and ARN are AWS'.
	Name, ID, Path, ARN string
	Description         string
	// Version is the id of the default version, the only one that is here.
	Version string
	// Created is when the policy was made, Updated when this version was.
	Created, Updated time.Time
	Document         *Document
}

//go:embed managed/*.json
var managedFiles embed.FS

// managedTable has what is not in the files: name, path, id, version, dates,
// description.
func managedTable() [][7]string {
	return [][7]string{
		{"AdministratorAccess", "/", "ANPAIWMBCKSKIEE64ZLYK", "v1", "2015-02-06T18:39:46Z", "2015-02-06T18:39:46Z",
			"Provides full access to AWS services and resources."},
		{"PowerUserAccess", "/", "ANPAJYRXTHIB4FOVS3ZXS", "v12", "2015-02-06T18:39:47Z", "2026-02-12T17:59:14Z",
			"Provides full access to AWS services and resources, but does not allow management of Users and groups."},
		{"IAMFullAccess", "/", "ANPAI7XKCFMBPM3QQRRVQ", "v2", "2015-02-06T18:40:38Z", "2019-06-21T19:40:00Z",
			"Provides full access to IAM via the AWS Management Console."},
		{"IAMReadOnlyAccess", "/", "ANPAJKSO7NDY4T57MWDSQ", "v4", "2015-02-06T18:40:39Z", "2018-01-25T19:11:27Z",
			"Provides read only access to IAM via the AWS Management Console."},
		{"AmazonPrometheusFullAccess", "/", "ANPAZKAPJZG4POZK2DGLM", "v2", "2020-12-15T18:10:46Z", "2023-11-26T20:16:13Z",
			"Grants full access to AWS Managed Prometheus resources"},
		{"AmazonPrometheusConsoleFullAccess", "/", "ANPAZKAPJZG4P7IR2JZ6H", "v9", "2020-12-15T18:11:10Z", "2026-02-12T17:59:47Z",
			"Grants full access to AWS Managed Prometheus resources in the AWS console"},
		{"AmazonPrometheusQueryAccess", "/", "ANPAZKAPJZG4GQ2MT4E46", "v1", "2020-12-19T01:02:58Z", "2020-12-19T01:02:58Z",
			"Grants access to run queries against AWS Managed Prometheus resources"},
		{"AmazonPrometheusRemoteWriteAccess", "/", "ANPAZKAPJZG4JHMXH2L3T", "v1", "2020-12-19T01:04:32Z", "2020-12-19T01:04:32Z",
			"Grants write only access to AWS Managed Prometheus workspaces"},
		{"AmazonPrometheusScraperServiceRolePolicy", "/aws-service-role/", "ANPAZKAPJZG4MXDZTGPJI", "v2", "2023-11-26T14:19:52Z", "2024-04-26T20:25:54Z", ""},
		{"AWSGrafanaAccountAdministrator", "/", "ANPAZKAPJZG4KHVCM25DH", "v3", "2021-02-23T00:20:38Z", "2022-02-15T22:36:18Z",
			"Provides access within Amazon Grafana to create and manage workspaces for the entire organization."},
		{"AWSGrafanaConsoleReadOnlyAccess", "/", "ANPAZKAPJZG4OHSWBMKNF", "v3", "2021-02-23T00:10:40Z", "2022-02-15T22:30:54Z",
			"Access to read only operations in Amazon Grafana."},
		{"AWSGrafanaWorkspacePermissionManagement", "/", "ANPAZKAPJZG4G37QQNGZW", "v4", "2021-02-23T00:15:54Z", "2023-03-15T22:17:26Z",
			"Provides only the ability to update user and group permissions for AWS Grafana workspaces"},
		{"AWSGrafanaWorkspacePermissionManagementV2", "/", "ANPAZKAPJZG4IL25U4BDL", "v1", "2024-01-05T18:39:46Z", "2024-01-05T18:39:46Z", ""},
	}
}

// managed compiles the policies at first use. They come with the program, so an
// error is one of its build, which the tests find.
var managed = sync.OnceValues(loadManaged)

func loadManaged() ([]ManagedPolicy, error) {
	var all []ManagedPolicy
	for _, row := range managedTable() {
		p := ManagedPolicy{Name: row[0], Path: row[1], ID: row[2], Version: row[3], Description: row[6], ARN: "arn:aws:iam::aws:policy" + row[1] + row[0]}
		var err error
		if p.Created, err = time.Parse(time.RFC3339, row[4]); err != nil {
			return nil, fmt.Errorf("managed policy %s: %w", p.Name, err)
		}
		if p.Updated, err = time.Parse(time.RFC3339, row[5]); err != nil {
			return nil, fmt.Errorf("managed policy %s: %w", p.Name, err)
		}
		text, err := managedFiles.ReadFile("managed/" + p.Name + ".json")
		if err != nil {
			return nil, fmt.Errorf("managed policy %s: %w", p.Name, err)
		}
		if p.Document, err = Parse(text, CustomerManaged); err != nil {
			return nil, fmt.Errorf("managed policy %s: %w", p.Name, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// Managed returns the document of one of AWS' policies.
func Managed(arn string) (*Document, bool) {
	all, _ := managed() // on an error the list is empty, and nothing is found
	i := slices.IndexFunc(all, func(p ManagedPolicy) bool { return p.ARN == arn })
	if i < 0 {
		return nil, false
	}
	return all[i].Document, true
}

// ManagedPolicies returns AWS' policies, in a fixed order.
func ManagedPolicies() []ManagedPolicy {
	all, _ := managed() // on an error the list is empty, and nothing is found
	return slices.Clone(all)
}
