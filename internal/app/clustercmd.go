package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mangru/mangru/internal/auth/webidentity"
)

func newClusterCmd() *cobra.Command {
	f := &awsFlags{}
	return group("cluster", "Register Kubernetes clusters",
		"A registered cluster is one whose service accounts may act as roles: the server knows its issuer and the keys that\n"+
			"sign its tokens. Nothing is installed in the cluster.", f,
		newClusterRegisterCmd(f), newClusterListCmd(f), newClusterDescribeCmd(f), newClusterDeregisterCmd(f))
}

// kubeFlags say which Kubernetes is meant.
type kubeFlags struct{ kubeconfig, context string }

func (k *kubeFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, ~/.kube/config, or the pod that this runs in)")
	c.Flags().StringVar(&k.context, "context", "", "context of the kubeconfig (default its current one)")
}

// config reads the kubeconfig.
func (k *kubeFlags) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: k.context}).ClientConfig()
	if err != nil {
		return nil, usagef("kubeconfig: %w", err)
	}
	cfg.Timeout = callTimeout
	cfg.UserAgent = "mangru/" + version
	return cfg, nil
}

// describedCluster is a cluster as EKS describes it, with our member "mangru".
type describedCluster struct {
	Name      string  `json:"name"`
	Arn       string  `json:"arn"`
	ID        string  `json:"id,omitempty"`
	CreatedAt float64 `json:"createdAt"`
	Version   string  `json:"version,omitempty"`
	Endpoint  string  `json:"endpoint,omitempty"`
	Status    string  `json:"status"`
	CA        struct {
		Data string `json:"data,omitempty"`
	} `json:"certificateAuthority"`
	Identity struct {
		OIDC struct {
			Issuer string `json:"issuer"`
		} `json:"oidc"`
	} `json:"identity"`
	Tags   map[string]string `json:"tags,omitempty"`
	Mangru *clusterKeys      `json:"mangru,omitempty"`
}

// clusterKeys is what the server was told about where the keys are.
type clusterKeys struct {
	Issuer      string          `json:"issuer"`
	JWKS        json.RawMessage `json:"jwks,omitempty"`
	InternalURL string          `json:"internalUrl,omitempty"`
	// Scrapable says that the server has a token for scrapers.
	Scrapable bool `json:"scrapable,omitempty"`
}

// account returns the account that the cluster is in.
func (d *describedCluster) account() string {
	parts := strings.SplitN(d.Arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

func clusterPath(name string) string { return "/clusters/" + url.PathEscape(name) }

func (c *awsClient) cluster(ctx context.Context, name string) (describedCluster, error) {
	var out struct {
		Cluster describedCluster `json:"cluster"`
	}
	err := c.rest(ctx, "DescribeCluster", http.MethodGet, clusterPath(name), nil, &out)
	if isCode(err, "ResourceNotFoundException") {
		err = fmt.Errorf("%w Register it with mangru cluster register %s", err, name)
	}
	return out.Cluster, err
}

// clusterFacts is what a registration says about a cluster.
type clusterFacts struct {
	Version     string          `json:"version,omitempty"`
	Endpoint    string          `json:"endpoint,omitempty"`
	CA          string          `json:"certificateAuthority,omitempty"`
	Issuer      string          `json:"issuer"`
	JWKS        json.RawMessage `json:"jwks,omitempty"`
	InternalURL string          `json:"internalUrl,omitempty"`
	// ScraperToken is what scrapers show the API server; "" leaves what is recorded.
	ScraperToken string `json:"scraperToken,omitempty"`
}

// kubeGet fetches a path of an API server.
func kubeGet(ctx context.Context, client *http.Client, host, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(host, "/")+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the API server does not answer: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return nil, fmt.Errorf("the API server's %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the API server answers %s with %s: the kubeconfig's user must be allowed to get it (ClusterRole system:service-account-issuer-discovery), "+
			"or give --issuer and --jwks", path, res.Status)
	}
	return text, nil
}

// readCluster asks an API server what a registration needs. What the flags say
// already is not asked.
func readCluster(ctx context.Context, cfg *rest.Config, facts *clusterFacts) error {
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return usagef("kubeconfig: %w", err)
	}
	defer client.CloseIdleConnections()
	host, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return usagef("kubeconfig: %w", err)
	}
	facts.Endpoint = strings.TrimSuffix(host.String(), "/")
	if facts.CA, err = caOf(cfg); err != nil {
		return err
	}
	text, err := kubeGet(ctx, client, facts.Endpoint, "/version")
	if err != nil {
		return err
	}
	var version struct{ Major, Minor string }
	if err := json.Unmarshal(text, &version); err != nil {
		return fmt.Errorf("the API server's /version: %w", err)
	}
	facts.Version = version.Major + "." + strings.TrimRight(version.Minor, "+")
	if facts.Issuer == "" {
		text, err := kubeGet(ctx, client, facts.Endpoint, "/.well-known/openid-configuration")
		if err != nil {
			return err
		}
		var discovery struct{ Issuer string }
		if err := json.Unmarshal(text, &discovery); err != nil || discovery.Issuer == "" {
			return errors.New("the API server's /.well-known/openid-configuration names no issuer: give --issuer")
		}
		facts.Issuer = discovery.Issuer
	}
	if facts.JWKS != nil || facts.InternalURL != "" {
		return nil
	}
	if text, err = kubeGet(ctx, client, facts.Endpoint, "/openid/v1/jwks"); err != nil {
		return err
	}
	facts.JWKS = text
	return nil
}

// caOf returns the certificates that vouch for the API server, as kubeconfigs
// have them. A client certificate's key is not touched.
func caOf(cfg *rest.Config) (string, error) {
	data := cfg.CAData
	if len(data) == 0 && cfg.CAFile != "" {
		var err error
		if data, err = os.ReadFile(cfg.CAFile); err != nil {
			return "", usagef("kubeconfig: %w", err)
		}
	}
	return base64.StdEncoding.EncodeToString(data), nil
}

// registration is what cluster register does, and reports.
type registration struct {
	Cluster  describedCluster `json:"cluster"`
	Result   string           `json:"result"`
	Provider string           `json:"oidcProvider,omitempty"`
	// ProviderResult is made, updated or unchanged.
	ProviderResult string `json:"oidcProviderResult,omitempty"`
}

// The results of steps that may have been done before.
const (
	resultCreated   = "created"
	resultUpdated   = "updated"
	resultUnchanged = "unchanged"
)

func newClusterRegisterCmd(f *awsFlags) *cobra.Command {
	kube := &kubeFlags{}
	var issuer, jwks, internalURL, token string
	var tags []string
	var noProvider, scraper bool
	c := &cobra.Command{Use: "register NAME", Short: "Record a cluster's issuer and keys, and make the provider that roles trust",
		Long: "Reads version, issuer and public keys from the API server, with the credentials of the kubeconfig, and records them.\n" +
			"Run it again after the cluster's signing keys have changed. With --internal-url the server fetches the keys itself\n" +
			"and follows such changes; that URL must answer without credentials.\n" +
			"With --scraper the server's scrapers may collect in the cluster: a service account mangru-scraper is made that may find\n" +
			"nodes, pods and services and get from them through the API server, and the server keeps its token, encrypted. Deleting\n" +
			"the secret mangru-scraper/mangru-scraper ends that.",
		Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			tagged, err := parseTags(tags)
			if err != nil {
				return err
			}
			facts := &clusterFacts{Issuer: issuer, InternalURL: internalURL}
			if jwks != "" {
				text, err := readDocument(cmd, "jwks", jwks)
				if err != nil {
					return err
				}
				facts.JWKS = []byte(text)
			}
			if err := facts.complete(ctx, kube); err != nil {
				return err
			}
			if err := facts.findToken(cmd, kube, scraper, token); err != nil {
				return err
			}
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			out, err := c.registerCluster(ctx, args[0], facts, tagged, !noProvider)
			if err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				t.row("Cluster", out.Cluster.Name, out.Result)
				t.row("Issuer", out.Cluster.Identity.OIDC.Issuer, "")
				if m := out.Cluster.Mangru; m != nil && m.Scrapable {
					t.row("Scrapers", "may collect at "+out.Cluster.Endpoint, "")
				}
				if out.Provider != "" {
					t.row("Provider", out.Provider, out.ProviderResult)
				}
			})
		}}
	kube.register(c)
	c.Flags().StringVar(&issuer, "issuer", "", "URL of the issuer of service account tokens (default: asked)")
	c.Flags().StringVar(&jwks, "jwks", "", "file with the keys that sign them (default: asked); with --issuer no cluster is asked")
	c.Flags().StringVar(&internalURL, "internal-url", "", "let the server fetch the keys from this URL")
	c.Flags().BoolVar(&noProvider, "no-oidc-provider", false, "only record the cluster: enough for Pod Identity")
	c.Flags().BoolVar(&scraper, "scraper", false, "make a service account for the server's scrapers in the cluster, and give its token to the server")
	c.Flags().StringVar(&token, "scraper-token", "", "file with the token of a service account that you have made for them, - for standard input")
	c.Flags().StringArrayVar(&tags, "tag", nil, "key=value; may be repeated")
	return c
}

// findToken finds or makes the token of scrapers, if they are wanted.
func (f *clusterFacts) findToken(cmd *cobra.Command, kube *kubeFlags, scraper bool, file string) error {
	if scraper && file != "" {
		return usagef("--scraper makes a token, --scraper-token gives one: choose one of them")
	}
	if file != "" {
		text, err := readDocument(cmd, "scraper-token", file)
		f.ScraperToken = strings.TrimSpace(text)
		return err
	}
	if !scraper {
		return nil
	}
	client, err := kube.client()
	if err != nil {
		return err
	}
	f.ScraperToken, err = ensureScraperAccess(cmd.Context(), client)
	return err
}

// complete asks the cluster for what is missing, and checks the keys.
func (f *clusterFacts) complete(ctx context.Context, kube *kubeFlags) error {
	if f.Issuer == "" || f.JWKS == nil && f.InternalURL == "" || kube.kubeconfig != "" || kube.context != "" {
		cfg, err := kube.config()
		if err != nil {
			return err
		}
		if err := readCluster(ctx, cfg, f); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(f.Issuer, "https://") {
		return usagef("the issuer is %q; only one that begins with https:// can be trusted (flag --service-account-issuer of the API server)", f.Issuer)
	}
	if f.JWKS == nil {
		return nil
	}
	if _, err := webidentity.CheckKeySet(f.JWKS); err != nil {
		return usagef("the cluster's keys: %w", err)
	}
	return nil
}

// keys returns what the provider is told.
func (f *clusterFacts) keys() (providerKeys, error) {
	keys := providerKeys{jwks: string(f.JWKS), internalURL: f.InternalURL}
	if f.InternalURL != "" {
		ca, err := base64.StdEncoding.DecodeString(f.CA)
		if err != nil {
			return keys, err
		}
		keys.ca = string(ca)
	}
	return keys, nil
}

func (c *awsClient) registerCluster(ctx context.Context, name string, facts *clusterFacts, tags map[string]string, withProvider bool) (*registration, error) {
	in := map[string]any{"name": name, "mangru": facts}
	if len(tags) > 0 {
		in["tags"] = tags
	}
	var answer struct {
		Cluster describedCluster `json:"cluster"`
	}
	out := &registration{Result: resultCreated}
	err := c.rest(ctx, "RegisterCluster", http.MethodPost, "/cluster-registrations", in, &answer)
	if isCode(err, "ResourceInUseException") {
		var before describedCluster
		if before, err = c.cluster(ctx, name); err != nil {
			return nil, err
		}
		out.Result = resultUnchanged
		if !facts.same(&before) {
			out.Result = resultUpdated
		}
		if before.Identity.OIDC.Issuer != facts.Issuer {
			return nil, fmt.Errorf("a cluster %s with another issuer (%s) is registered already: choose another name, or deregister it first",
				name, before.Identity.OIDC.Issuer)
		}
		delete(in, "name")
		delete(in, "tags")
		err = c.rest(ctx, "UpdateClusterRegistration", http.MethodPost, "/cluster-registrations/"+url.PathEscape(name), in, &answer)
	}
	if err != nil {
		return nil, err
	}
	out.Cluster = answer.Cluster
	if !withProvider {
		return out, nil
	}
	keys, err := facts.keys()
	if err != nil {
		return nil, err
	}
	out.Provider, out.ProviderResult, err = c.ensureProvider(ctx, out.Cluster.account(), facts.Issuer, keys)
	return out, err
}

// same reports whether a cluster is recorded with these facts.
func (f *clusterFacts) same(d *describedCluster) bool {
	was := clusterFacts{Version: d.Version, Endpoint: d.Endpoint, CA: d.CA.Data, Issuer: d.Identity.OIDC.Issuer}
	if d.Mangru != nil {
		was.JWKS, was.InternalURL = d.Mangru.JWKS, d.Mangru.InternalURL
	}
	sameKeys := sameJSON(string(f.JWKS), string(was.JWKS))
	now := *f
	now.JWKS, was.JWKS = nil, nil
	// A token is not shown again, so one that is given counts as another.
	return sameKeys && reflect.DeepEqual(now, was)
}

// sameJSON reports whether two documents mean the same.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// ensureProvider makes the provider of an issuer, or brings it up to date.
func (c *awsClient) ensureProvider(ctx context.Context, account, issuer string, keys providerKeys) (arn, result string, err error) {
	arn = providerARN(account, issuer)
	p, err := c.provider(ctx, arn)
	if isCode(err, "NoSuchEntity") {
		arn, err = c.createProvider(ctx, issuer, []string{audienceSTS}, nil, keys, nil)
		return arn, resultCreated, err
	}
	if err != nil {
		return "", "", err
	}
	result = resultUnchanged
	have := p.keys()
	if !sameJSON(have.jwks, keys.jwks) || have.ca != keys.ca || have.internalURL != keys.internalURL {
		if err := c.setProviderKeys(ctx, arn, keys); err != nil {
			return "", "", err
		}
		result = resultUpdated
	}
	for _, id := range p.ClientIDList {
		if id == audienceSTS {
			return arn, result, nil
		}
	}
	err = c.iam(ctx, "AddClientIDToOpenIDConnectProvider", url.Values{"OpenIDConnectProviderArn": {arn}, "ClientID": {audienceSTS}}, nil)
	return arn, resultUpdated, err
}

func (c *awsClient) clusters(ctx context.Context) ([]describedCluster, error) {
	type page struct {
		Clusters  []string `json:"clusters"`
		NextToken string   `json:"nextToken"`
	}
	list := []describedCluster{}
	err := restPages(ctx, c, serviceEKS, "ListClusters", "/clusters", url.Values{"include": {"all"}}, func(p *page) (string, error) {
		for _, name := range p.Clusters {
			d, err := c.cluster(ctx, name)
			if err != nil {
				return "", err
			}
			list = append(list, d)
		}
		return p.NextToken, nil
	})
	return list, err
}

func newClusterListCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List clusters",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := c.clusters(cmd.Context())
			if err != nil {
				return err
			}
			return f.show(cmd, map[string]any{"clusters": list}, func(t *table) {
				t.row("NAME", "VERSION", "STATUS", "ENDPOINT", "ISSUER")
				for i := range list {
					d := &list[i]
					t.row(d.Name, d.Version, d.Status, d.Endpoint, d.Identity.OIDC.Issuer)
				}
			})
		}}
}

func newClusterDescribeCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "describe NAME", Short: "Show a cluster", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			d, err := c.cluster(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return f.show(cmd, map[string]any{"cluster": d}, func(t *table) {
				t.row("Name", d.Name)
				t.row("ARN", d.Arn)
				t.row("Status", d.Status)
				t.row("Version", d.Version)
				t.row("Endpoint", d.Endpoint)
				t.row("Issuer", d.Identity.OIDC.Issuer)
				keys := providerKeys{}
				if d.Mangru != nil {
					keys = providerKeys{jwks: string(d.Mangru.JWKS), internalURL: d.Mangru.InternalURL}
				}
				t.row("Keys", keys.source())
				t.row("Provider", providerARN(d.account(), d.Identity.OIDC.Issuer))
				if d.Mangru != nil && d.Mangru.Scrapable {
					t.row("Scrapers", "may collect here")
				}
				for _, k := range sortedKeys(d.Tags) {
					t.row("Tag", k+"="+d.Tags[k])
				}
			})
		}}
}

func newClusterDeregisterCmd(f *awsFlags) *cobra.Command {
	var keep bool
	c := &cobra.Command{Use: "deregister NAME", Short: "Forget a cluster, its Pod Identity associations and its provider: its pods get no more credentials", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			var out struct {
				Cluster describedCluster `json:"cluster"`
			}
			if err := c.rest(ctx, "DeregisterCluster", http.MethodDelete, "/cluster-registrations/"+url.PathEscape(args[0]), nil, &out); err != nil {
				return err
			}
			provider := "is kept"
			if !keep {
				if provider, err = c.dropProvider(ctx, &out.Cluster); err != nil {
					return err
				}
			}
			return f.done(cmd, out, "cluster %s deregistered; its provider %s", args[0], provider)
		}}
	c.Flags().BoolVar(&keep, "keep-oidc-provider", false, "keep the provider")
	return c
}

// dropProvider deletes the provider of a cluster that is gone, unless another
// one has the same issuer.
func (c *awsClient) dropProvider(ctx context.Context, gone *describedCluster) (string, error) {
	list, err := c.clusters(ctx)
	if err != nil {
		return "", err
	}
	for i := range list {
		if list[i].Identity.OIDC.Issuer == gone.Identity.OIDC.Issuer {
			return "is kept for cluster " + list[i].Name, nil
		}
	}
	arn := providerARN(gone.account(), gone.Identity.OIDC.Issuer)
	err = c.iam(ctx, "DeleteOpenIDConnectProvider", url.Values{"OpenIDConnectProviderArn": {arn}}, nil)
	if isCode(err, "NoSuchEntity") {
		return "was not there", nil
	}
	return "is deleted", err
}
