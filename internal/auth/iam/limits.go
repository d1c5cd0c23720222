package iam

import (
	"context"
	"unicode"

	"github.com/uptrace/bun"
)

// How many of each an account or record may have: AWS' defaults.
const (
	maxUsers             = 5000
	maxGroups            = 300
	maxRoles             = 1000
	maxPolicies          = 1500
	maxProviders         = 100
	maxGroupsPerUser     = 10
	maxAccessKeys        = 2 // one in use, one to change over to
	maxAttached          = 10
	maxVersions          = 5
	maxTags              = 50
	maxClientIDs         = 100
	maxThumbprints       = 5
	maxManagedPolicySize = 6144 // characters, white space not counted
	maxTrustPolicySize   = 2048
	maxDocumentSize      = 131072 // bytes as sent
	minSessionSeconds    = 3600
	maxSessionSeconds    = 43200
)

// maxInlineSize is how many characters the inline policies of one record may
// have together.
var maxInlineSize = map[Kind]int{KindUser: 2048, KindGroup: 5120, KindRole: 10240}

// checkCount refuses one more record of an account when there are most already.
func checkCount(ctx context.Context, db bun.IDB, model any, account, what string, most int) error {
	n, err := db.NewSelect().Model(model).Where("account_id = ?", account).Count(ctx)
	if err != nil {
		return err
	}
	if n >= most {
		return newError(ErrLimitExceeded, "Cannot exceed quota for %sPerAccount: %d", what, most)
	}
	return nil
}

// sizeOf counts the characters of a document as quotas do: without white space.
func sizeOf(document string) int {
	n := 0
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}
