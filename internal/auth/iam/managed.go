package iam

import "github.com/mangru/mangru/internal/auth/policy"

// managedDocument returns the text of a managed policy of AWS.
func managedDocument(arn string) (*policy.Document, bool) { return policy.Managed(arn) }

// ofAWS describes a managed policy of AWS.
func ofAWS(m policy.ManagedPolicy) Policy {
	return Policy{AccountID: accountAWS, ID: m.ID, Name: m.Name, Path: m.Path, ARN: m.ARN, Description: m.Description, DefaultVersion: m.Version,
		Created: m.Created, Updated: m.Updated}
}
