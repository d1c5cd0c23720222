package iamapi

import (
	"context"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
)

// trustInput is ours, not AWS': how to reach and trust an issuer that is not
// public.
type trustInput struct {
	CertificateAuthority string // PEM
	KeySet               string // JSON Web Key Set
	InternalURL          string `query:"InternalUrl"`
}

func (in *trustInput) trust() iam.ProviderTrust {
	return iam.ProviderTrust{CA: in.CertificateAuthority, JWKS: in.KeySet, InternalURL: in.InternalURL}
}

type createProvider struct {
	URL            string `query:"Url,required"`
	ClientIDList   []string
	ThumbprintList []string
	tagsInput
	trustInput
}

func (in *createProvider) target(p iam.Principal) target {
	return newARN(p, iam.KindProvider, "/", strings.TrimPrefix(in.URL, "https://"))
}

type listProviders struct{}

func (*listProviders) target(p iam.Principal) target {
	return newARN(p, iam.KindProvider, "/", "*")
}

type clientInput struct {
	providerInput
	ClientID string `query:",required"`
}

func (s *server) providers() []api.Route {
	return []api.Route{
		route(s, "CreateOpenIDConnectProvider", func(ctx context.Context, c *call, in *createProvider) (any, error) {
			tags, err := in.tags()
			if err != nil {
				return nil, err
			}
			p, err := c.iam.CreateProvider(ctx, c.account, iam.ProviderSpec{URL: in.URL, ClientIDs: in.ClientIDList, Thumbprints: in.ThumbprintList,
				Trust: in.trust(), Tags: tags})
			return struct {
				OpenIDConnectProviderArn string
				Tags                     []Tag
			}{p.ARN, tagList(p.Tags)}, err
		}),
		route(s, "GetOpenIDConnectProvider", getProvider),
		route(s, "ListOpenIDConnectProviders", func(ctx context.Context, c *call, _ *listProviders) (any, error) {
			all, err := c.iam.Providers(ctx, c.account)
			type item struct{ Arn string }
			out := make([]item, len(all))
			for i, p := range all {
				out[i].Arn = p.ARN
			}
			return struct{ OpenIDConnectProviderList []item }{out}, err
		}),
		route(s, "AddClientIDToOpenIDConnectProvider", func(ctx context.Context, c *call, in *clientInput) (any, error) {
			return nil, c.iam.AddClientID(ctx, c.account, in.OpenIDConnectProviderArn, in.ClientID)
		}),
		route(s, "RemoveClientIDFromOpenIDConnectProvider", func(ctx context.Context, c *call, in *clientInput) (any, error) {
			return nil, c.iam.RemoveClientID(ctx, c.account, in.OpenIDConnectProviderArn, in.ClientID)
		}),
		route(s, "UpdateOpenIDConnectProviderThumbprint", func(ctx context.Context, c *call, in *struct {
			providerInput
			ThumbprintList []string `query:",required"`
		}) (any, error) {
			return nil, c.iam.SetThumbprints(ctx, c.account, in.OpenIDConnectProviderArn, in.ThumbprintList)
		}),
		// Ours, not AWS': replaces how the issuer is reached and trusted.
		route(s, "UpdateOpenIDConnectProviderTrust", func(ctx context.Context, c *call, in *struct {
			providerInput
			trustInput
		}) (any, error) {
			return nil, c.iam.SetProviderTrust(ctx, c.account, in.OpenIDConnectProviderArn, in.trust())
		}),
		route(s, "DeleteOpenIDConnectProvider", func(ctx context.Context, c *call, in *providerInput) (any, error) {
			return nil, c.iam.DeleteProvider(ctx, c.account, in.OpenIDConnectProviderArn)
		}),
		route(s, "TagOpenIDConnectProvider", tag[struct {
			providerInput
			tagsInput
		}]),
		route(s, "UntagOpenIDConnectProvider", untag[struct {
			providerInput
			tagKeysInput
		}]),
		route(s, "ListOpenIDConnectProviderTags", listTags[struct {
			providerInput
			pageInput
		}]),
	}
}

func getProvider(ctx context.Context, c *call, in *providerInput) (any, error) {
	p, err := c.iam.Provider(ctx, c.account, in.OpenIDConnectProviderArn)
	return struct {
		URL            string `query:"Url"` // as in AWS, without scheme
		ClientIDList   []string
		ThumbprintList []string
		CreateDate     time.Time
		Tags           []Tag
		trustInput
	}{strings.TrimPrefix(p.URL, "https://"), p.ClientIDs, p.Thumbprints, p.Created, tagList(p.Tags),
		trustInput{p.Trust.CA, p.Trust.JWKS, p.Trust.InternalURL}}, err
}
