package app

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/auth/webidentity"
)

// Audiences of service account tokens.
const audienceSTS = "sts.amazonaws.com"

func newOIDCProviderCmd() *cobra.Command {
	f := &awsFlags{}
	return group("oidc-provider", "Manage OpenID Connect providers",
		"A provider is an issuer of tokens, such as a cluster, that trust policies may name. mangru cluster register makes the\n"+
			"one of a cluster. Its keys are fetched from the issuer, or, where that is not public, given with it.", f,
		newProviderCreateCmd(f), newProviderListCmd(f), newProviderGetCmd(f), newProviderSetKeysCmd(f),
		newProviderClientCmd(f, "add-client-id", "AddClientIDToOpenIDConnectProvider", "Accept tokens for one more audience"),
		newProviderClientCmd(f, "remove-client-id", "RemoveClientIDFromOpenIDConnectProvider", "Stop accepting tokens for an audience"),
		newProviderDeleteCmd(f))
}

// oidcProvider is a provider as IAM describes it.
type oidcProvider struct {
	Arn string `query:"-"`
	// Url is the issuer without its scheme.
	Url            string
	ClientIDList   []string
	ThumbprintList []string
	CreateDate     time.Time
	Tags           []iamTag `json:",omitempty"`
	// Where the keys come from; Amazon's IAM has none of these.
	KeySet               string `json:",omitempty"`
	CertificateAuthority string `json:",omitempty"`
	InternalUrl          string `json:",omitempty"`
}

func (p *oidcProvider) keys() providerKeys {
	return providerKeys{jwks: p.KeySet, ca: p.CertificateAuthority, internalURL: p.InternalUrl}
}

// source says where the keys come from, for people.
func (k providerKeys) source() string {
	switch {
	case k.jwks != "":
		return "recorded here"
	case k.internalURL != "":
		return "fetched from " + k.internalURL
	}
	return "fetched from the issuer"
}

// providerKeys says where a provider's keys come from, if not from the issuer
// by its own name. It is our extension of IAM: Amazon's refuses it.
type providerKeys struct {
	jwks, ca, internalURL string
}

// The parameters of our extension.
const (
	paramJWKS        = "KeySet"
	paramCA          = "CertificateAuthority"
	paramInternalURL = "InternalUrl"
)

func (k providerKeys) set(form url.Values) {
	for name, value := range map[string]string{paramJWKS: k.jwks, paramCA: k.ca, paramInternalURL: k.internalURL} {
		if value != "" {
			form.Set(name, value)
		}
	}
}

// providerARN completes the URL of an issuer to the ARN of its provider.
func (c *awsClient) providerARN(ctx context.Context, issuer string) (string, error) {
	if strings.HasPrefix(issuer, "arn:") {
		return issuer, nil
	}
	account, err := c.account(ctx)
	if err != nil {
		return "", err
	}
	return providerARN(account, issuer), nil
}

func providerARN(account, issuer string) string {
	return "arn:aws:iam::" + account + ":oidc-provider/" + strings.TrimPrefix(issuer, "https://")
}

func (c *awsClient) provider(ctx context.Context, arn string) (oidcProvider, error) {
	out := oidcProvider{Arn: arn}
	err := c.iam(ctx, "GetOpenIDConnectProvider", url.Values{"OpenIDConnectProviderArn": {arn}}, &out)
	return out, err
}

// keyFlags are the files of providerKeys.
type keyFlags struct{ jwks, ca, internalURL string }

func (k *keyFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&k.jwks, "jwks", "", "file with the issuer's public keys (JSON Web Key Set), for an issuer that cannot be asked for them")
	c.Flags().StringVar(&k.ca, "ca", "", "file with the certificates (PEM) that vouch for the issuer, instead of the system's")
	c.Flags().StringVar(&k.internalURL, "internal-url", "", "URL to fetch the keys from instead of the issuer's own, such as that of an API server")
}

func (k *keyFlags) read(cmd *cobra.Command) (providerKeys, error) {
	keys := providerKeys{internalURL: k.internalURL}
	var err error
	if k.jwks != "" {
		if keys.jwks, err = readDocument(cmd, "jwks", k.jwks); err != nil {
			return keys, err
		}
		if _, err := webidentity.CheckKeySet([]byte(keys.jwks)); err != nil {
			return keys, usagef("--jwks: %w", err)
		}
	}
	if k.ca != "" {
		keys.ca, err = readDocument(cmd, "ca", k.ca)
	}
	return keys, err
}

func newProviderCreateCmd(f *awsFlags) *cobra.Command {
	var clients, thumbprints, tags []string
	files := &keyFlags{}
	c := &cobra.Command{Use: "create URL", Short: "Make a provider", Args: exactly("the issuer's URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := files.read(cmd)
			if err != nil {
				return err
			}
			tagged, err := parseTags(tags)
			if err != nil {
				return err
			}
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			arn, err := c.createProvider(cmd.Context(), args[0], clients, thumbprints, keys, tagged)
			if err != nil {
				return err
			}
			return f.done(cmd, map[string]string{"OpenIDConnectProviderArn": arn}, "provider made: %s", arn)
		}}
	files.register(c)
	c.Flags().StringArrayVar(&clients, "client-id", []string{audienceSTS}, "audience that tokens may be for; may be repeated")
	c.Flags().StringArrayVar(&thumbprints, "thumbprint", nil, "kept for AWS' sake; nothing relies on it")
	c.Flags().StringArrayVar(&tags, "tag", nil, "key=value; may be repeated")
	return c
}

func (c *awsClient) createProvider(ctx context.Context, issuer string, clients, thumbprints []string, keys providerKeys, tags map[string]string) (string, error) {
	form := url.Values{"Url": {issuer}}
	setList(form, "ClientIDList", clients)
	setList(form, "ThumbprintList", thumbprints)
	setTags(form, tags)
	keys.set(form)
	var out struct{ OpenIDConnectProviderArn string }
	err := c.iam(ctx, "CreateOpenIDConnectProvider", form, &out)
	return out.OpenIDConnectProviderArn, err
}

// setProviderKeys replaces where a provider's keys come from.
func (c *awsClient) setProviderKeys(ctx context.Context, arn string, keys providerKeys) error {
	form := url.Values{"OpenIDConnectProviderArn": {arn}}
	keys.set(form)
	return c.iam(ctx, "UpdateOpenIDConnectProviderTrust", form, nil)
}

func newProviderListCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List providers",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			var list struct{ OpenIDConnectProviderList []struct{ Arn string } }
			if err := c.iam(ctx, "ListOpenIDConnectProviders", nil, &list); err != nil {
				return err
			}
			out := struct{ OpenIDConnectProviderList []oidcProvider }{[]oidcProvider{}}
			for _, p := range list.OpenIDConnectProviderList {
				full, err := c.provider(ctx, p.Arn)
				if err != nil {
					return err
				}
				out.OpenIDConnectProviderList = append(out.OpenIDConnectProviderList, full)
			}
			return f.show(cmd, out, func(t *table) {
				t.row("ISSUER", "AUDIENCES", "KEYS", "ARN")
				for i := range out.OpenIDConnectProviderList {
					p := &out.OpenIDConnectProviderList[i]
					t.row("https://"+p.Url, strings.Join(p.ClientIDList, " "), p.keys().source(), p.Arn)
				}
			})
		}}
}

func newProviderGetCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "get URL|ARN", Short: "Show a provider", Args: exactly("a URL or ARN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			arn, err := c.providerARN(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			p, err := c.provider(cmd.Context(), arn)
			if err != nil {
				return err
			}
			return f.show(cmd, p, func(t *table) {
				t.row("Issuer", "https://"+p.Url)
				t.row("ARN", p.Arn)
				t.row("Audiences", strings.Join(p.ClientIDList, " "))
				t.row("Keys", p.keys().source())
				t.row("Thumbprints", strings.Join(p.ThumbprintList, " "))
				t.row("Created", day(p.CreateDate))
				t.row("Tags", tagText(p.Tags))
			})
		}}
}

func newProviderSetKeysCmd(f *awsFlags) *cobra.Command {
	files := &keyFlags{}
	c := &cobra.Command{Use: "set-keys URL|ARN", Short: "Replace where a provider's keys come from; without flags, the issuer itself", Args: exactly("a URL or ARN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := files.read(cmd)
			if err != nil {
				return err
			}
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			arn, err := c.providerARN(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := c.setProviderKeys(cmd.Context(), arn, keys); err != nil {
				return err
			}
			return f.done(cmd, map[string]string{"OpenIDConnectProviderArn": arn}, "keys of %s replaced", arn)
		}}
	files.register(c)
	return c
}

func newProviderClientCmd(f *awsFlags, use, operation, short string) *cobra.Command {
	return &cobra.Command{Use: use + " URL|ARN CLIENT-ID", Short: short, Args: exactly("a URL or ARN", "a client id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			arn, err := c.providerARN(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := c.iam(cmd.Context(), operation, url.Values{"OpenIDConnectProviderArn": {arn}, "ClientID": {args[1]}}, nil); err != nil {
				return err
			}
			p, err := c.provider(cmd.Context(), arn)
			if err != nil {
				return err
			}
			return f.done(cmd, p, "%s accepts tokens for: %s", arn, strings.Join(p.ClientIDList, " "))
		}}
}

func newProviderDeleteCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "delete URL|ARN", Short: "Delete a provider; roles that trust it can no longer be assumed by its tokens", Args: exactly("a URL or ARN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			arn, err := c.providerARN(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := c.iam(cmd.Context(), "DeleteOpenIDConnectProvider", url.Values{"OpenIDConnectProviderArn": {arn}}, nil); err != nil {
				return err
			}
			return f.done(cmd, map[string]string{"OpenIDConnectProviderArn": arn}, "provider deleted: %s", arn)
		}}
}
