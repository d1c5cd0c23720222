package iamapi

import (
	"context"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
)

// Operations that users, groups, roles, policies and providers have alike.

func tag[T any, P interface {
	*T
	input
	tagging
}](ctx context.Context, c *call, in P) (any, error) {
	tags, err := in.tags()
	if err != nil {
		return nil, err
	}
	if len(tags) == 0 {
		return nil, invalid("1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must not be null")
	}
	return nil, c.iam.Tag(ctx, c.ref, tags)
}

func untag[T any, P interface {
	*T
	input
	untagger
}](ctx context.Context, c *call, in P) (any, error) {
	return nil, c.iam.Untag(ctx, c.ref, in.tagNames())
}

// paged is an input with a page.
type paged interface{ request() *pageInput }

func (in *pageInput) request() *pageInput { return in }

func listTags[T any, P interface {
	*T
	input
	paged
}](ctx context.Context, c *call, in P) (any, error) {
	tags, err := c.iam.Tags(ctx, c.ref)
	if err != nil {
		return nil, err
	}
	list, p, err := cut(in.request(), tagList(tags), func(t Tag) string { return t.Key })
	return struct {
		Tags []Tag
		pageOutput
	}{list, p}, err
}

func attach[T any, P interface {
	*T
	input
	attaches
}](ctx context.Context, c *call, in P) (any, error) {
	return nil, c.iam.AttachPolicy(ctx, c.ref, in.policyARN())
}

func detach[T any, P interface {
	*T
	input
	attaches
}](ctx context.Context, c *call, in P) (any, error) {
	return nil, c.iam.DetachPolicy(ctx, c.ref, in.policyARN())
}

// attachedInput lists attached policies by their paths.
type attachedInput struct {
	PathPrefix string
	pageInput
}

func (in *attachedInput) prefix() string { return in.PathPrefix }

func (in *attachedInput) complete(iam.Principal) error { return checkPrefix(in.PathPrefix) }

// filtered is an input with a filter on paths.
type filtered interface{ prefix() string }

type attachedOutput struct{ PolicyName, PolicyArn string }

func attachedOf(arns []string) []attachedOutput {
	out := make([]attachedOutput, len(arns))
	for i, arn := range arns {
		out[i] = attachedOutput{PolicyName: iam.PolicyName(arn), PolicyArn: arn}
	}
	return out
}

func listAttached[T any, P interface {
	*T
	input
	paged
	filtered
}](ctx context.Context, c *call, in P) (any, error) {
	all, err := c.iam.AttachedPolicies(ctx, c.ref)
	if err != nil {
		return nil, err
	}
	arns := all[:0]
	for _, arn := range all {
		if _, path, _ := strings.Cut(arn, ":policy"); strings.HasPrefix(path, in.prefix()) {
			arns = append(arns, arn)
		}
	}
	arns, p, err := cut(in.request(), arns, func(arn string) string { return arn })
	return struct {
		AttachedPolicies []attachedOutput
		pageOutput
	}{attachedOf(arns), p}, err
}

// inlines is an input that names an inline policy.
type inlines interface{ inlineName() string }

func (in *inlineInput) inlineName() string { return in.PolicyName }

// documented is an input with a policy document.
type documented interface{ document() string }

func (in *documentInput) document() string { return in.PolicyDocument }

func putInline[T any, P interface {
	*T
	input
	inlines
	documented
}](ctx context.Context, c *call, in P) (any, error) {
	return nil, c.iam.PutInlinePolicy(ctx, c.ref, in.inlineName(), in.document())
}

func deleteInline[T any, P interface {
	*T
	input
	inlines
}](ctx context.Context, c *call, in P) (any, error) {
	return nil, c.iam.DeleteInlinePolicy(ctx, c.ref, in.inlineName())
}

func listInline[T any, P interface {
	*T
	input
	paged
}](ctx context.Context, c *call, in P) (any, error) {
	all, err := c.iam.InlinePolicies(ctx, c.ref)
	if err != nil {
		return nil, err
	}
	names, p, err := cut(in.request(), all, func(name string) string { return name })
	return struct {
		PolicyNames []string
		pageOutput
	}{names, p}, err
}
