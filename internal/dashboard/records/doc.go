// Package records keeps what belongs to a dashboard workspace: boards with their
// versions, folders, permissions, data sources, teams, annotations, service
// accounts and small documents.
//
// Every call names the workspace first. Nothing here knows HTTP; what a caller
// may see is decided by Access, which reads the permissions of a workspace once.
package records
