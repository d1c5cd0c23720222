package iamapi

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
)

// Parts of inputs, which operations put together.

type userInput struct {
	UserName string `query:",required"`
}

func (in *userInput) target(p iam.Principal) target {
	return target{ref: iam.UserRef(p.AccountID, in.UserName)}
}

// selfInput is about the caller when it names nobody.
type selfInput struct{ UserName string }

func (in *selfInput) complete(p iam.Principal) error {
	if in.UserName == "" {
		if p.Type != iam.TypeUser {
			return invalid("Must specify userName when calling with non-User credentials")
		}
		in.UserName = p.Name
	}
	return nil
}

func (in *selfInput) target(p iam.Principal) target {
	return target{ref: iam.UserRef(p.AccountID, in.UserName)}
}

type groupInput struct {
	GroupName string `query:",required"`
}

func (in *groupInput) target(p iam.Principal) target {
	return target{ref: iam.GroupRef(p.AccountID, in.GroupName)}
}

type roleInput struct {
	RoleName string `query:",required"`
}

func (in *roleInput) target(p iam.Principal) target {
	return target{ref: iam.RoleRef(p.AccountID, in.RoleName)}
}

type policyInput struct {
	PolicyArn string `query:",required"`
}

func (in *policyInput) complete(iam.Principal) error {
	if !strings.HasPrefix(in.PolicyArn, "arn:aws:iam::") || !strings.Contains(in.PolicyArn, ":policy/") {
		return invalid("ARN %.200s is not valid.", in.PolicyArn)
	}
	return nil
}

func (in *policyInput) target(p iam.Principal) target {
	return target{ref: iam.PolicyRef(p.AccountID, in.PolicyArn)}
}

type providerInput struct {
	OpenIDConnectProviderArn string `query:",required"`
}

func (in *providerInput) complete(iam.Principal) error {
	if !strings.HasPrefix(in.OpenIDConnectProviderArn, "arn:aws:iam::") || !strings.Contains(in.OpenIDConnectProviderArn, ":oidc-provider/") {
		return invalid("ARN %.300s is not valid.", in.OpenIDConnectProviderArn)
	}
	return nil
}

func (in *providerInput) target(p iam.Principal) target {
	return target{ref: iam.ProviderRef(p.AccountID, in.OpenIDConnectProviderArn)}
}

// everything is the target of operations that are about no record.
type everything struct{}

func (*everything) target(iam.Principal) target { return target{arn: "*"} }

// newARN is the ARN of a record that an operation is about to make.
func newARN(p iam.Principal, kind iam.Kind, path, name string) target {
	if path == "" {
		path = "/"
	}
	return target{arn: iam.ARN(p.AccountID, kind, path, name)}
}

// Tag is one tag on the wire.
type Tag struct {
	Key   string `query:",required"`
	Value string `query:",always"`
}

type tagsInput struct{ Tags []Tag }

func (in *tagsInput) tags() (map[string]string, error) {
	tags := make(map[string]string, len(in.Tags))
	for _, t := range in.Tags {
		if _, twice := tags[t.Key]; twice {
			return nil, invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		tags[t.Key] = t.Value
	}
	return tags, nil
}

type tagKeysInput struct {
	TagKeys []string `query:",required"`
}

func (in *tagKeysInput) tagNames() []string { return in.TagKeys }

// tagList writes tags in a fixed order; none are nil.
func tagList(tags map[string]string) []Tag {
	var list []Tag
	for name, value := range tags {
		list = append(list, Tag{Key: name, Value: value})
	}
	slices.SortFunc(list, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return list
}

type boundaryInput struct {
	PermissionsBoundary string `query:",required"`
}

func (in *boundaryInput) boundary() string { return in.PermissionsBoundary }

type optionalBoundary struct{ PermissionsBoundary string }

func (in *optionalBoundary) boundary() string { return in.PermissionsBoundary }

type policyArnInput struct {
	PolicyArn string `query:",required"`
}

func (in *policyArnInput) policyARN() string { return in.PolicyArn }

type inlineInput struct {
	PolicyName string `query:",required"`
}

type documentInput struct {
	PolicyDocument string `query:",required"`
}

// pageInput asks for a part of a list.
type pageInput struct {
	Marker   string
	MaxItems *int
}

// pageOutput tells whether there is more of a list.
type pageOutput struct {
	IsTruncated bool
	Marker      string
}

const (
	defaultItems = 100
	maxItems     = 1000
	markerPrefix = "after:"
)

// page returns the name after which the list goes on, and how many to return.
func (in *pageInput) page() (after string, limit int, err error) {
	limit = defaultItems
	if in.MaxItems != nil {
		if limit = *in.MaxItems; limit < 1 || limit > maxItems {
			return "", 0, invalid("1 validation error detected: Value '%d' at 'maxItems' failed to satisfy constraint: "+
				"Member must have value between 1 and %d", limit, maxItems)
		}
	}
	if in.Marker == "" {
		return "", limit, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(in.Marker)
	after, ok := strings.CutPrefix(string(b), markerPrefix)
	if err != nil || !ok || after == "" {
		return "", 0, errMarker()
	}
	return after, limit, nil
}

func errMarker() error { return invalid("Invalid Marker.") }

// goOn is the end of a page that is not the last one, whose last item is given.
func goOn(last string) pageOutput {
	return pageOutput{IsTruncated: true, Marker: base64.RawURLEncoding.EncodeToString([]byte(markerPrefix + last))}
}

// cut returns the part of a list that a caller asked for; key is unique in it.
// It is never nil, so that an empty list is written as one.
func cut[T any](in *pageInput, all []T, key func(T) string) ([]T, pageOutput, error) {
	after, limit, err := in.page()
	if err != nil {
		return nil, pageOutput{}, err
	}
	if after != "" {
		i := slices.IndexFunc(all, func(t T) bool { return key(t) == after })
		if i < 0 {
			return nil, pageOutput{}, errMarker()
		}
		all = all[i+1:]
	}
	if len(all) <= limit {
		return append([]T{}, all...), pageOutput{}, nil
	}
	return all[:limit], goOn(key(all[limit-1])), nil
}

// checkPrefix checks the filter of a list, "" for all.
func checkPrefix(prefix string) error {
	if prefix != "" && (!strings.HasPrefix(prefix, "/") || len(prefix) > 512) {
		return invalid("The specified value for pathPrefix is invalid. It must begin with / and contain only alphanumeric characters and/or / characters.")
	}
	return nil
}

// listInput lists records of a kind by path and name.
type listInput struct {
	PathPrefix string
	pageInput
}

func (in *listInput) complete(iam.Principal) error { return checkPrefix(in.PathPrefix) }

// prefixed is what AWS takes for the resource of a list.
func (in *listInput) prefixed(p iam.Principal, kind iam.Kind) target {
	return newARN(p, kind, in.PathPrefix, "")
}

func (in *listInput) records() (iam.Page, error) {
	after, limit, err := in.page()
	return iam.Page{PathPrefix: in.PathPrefix, After: after, Limit: limit}, err
}
