package eksapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/cluster"
)

// clusterJSON is a cluster as EKS describes it. What the records do not know,
// such as subnets, is left out.
type clusterJSON struct {
	Name        string             `json:"name"`
	ARN         string             `json:"arn"`
	ID          string             `json:"id"`
	CreatedAt   json.RawMessage    `json:"createdAt"`
	Version     string             `json:"version,omitempty"`
	Endpoint    string             `json:"endpoint,omitempty"`
	Status      string             `json:"status"`
	CA          *caJSON            `json:"certificateAuthority,omitempty"`
	Identity    identityJSON       `json:"identity"`
	Connector   *cluster.Connector `json:"connectorConfig,omitempty"`
	Tags        map[string]string  `json:"tags"`
	Health      healthJSON         `json:"health"`
	Mangru      *registrationJSON  `json:"mangru,omitempty"`
	AccessModes struct {
		Mode string `json:"authenticationMode"`
	} `json:"accessConfig"`
}

type caJSON struct {
	Data string `json:"data"`
}

type identityJSON struct {
	OIDC struct {
		Issuer string `json:"issuer"`
	} `json:"oidc"`
}

type healthJSON struct {
	Issues []struct{} `json:"issues"`
}

// registrationJSON is the member "mangru" of RegisterCluster and its answers:
// what EKS knows of its own clusters, and here has to be told.
type registrationJSON struct {
	Version     string          `json:"version,omitempty"`
	Endpoint    string          `json:"endpoint,omitempty"`
	CA          string          `json:"certificateAuthority,omitempty"`
	Issuer      string          `json:"issuer"`
	JWKS        json.RawMessage `json:"jwks,omitempty"`
	InternalURL string          `json:"internalUrl,omitempty"`
	// ScraperToken is taken and never given; Scrapable says that there is one.
	ScraperToken *string `json:"scraperToken,omitempty"`
	Scrapable    bool    `json:"scrapable,omitempty"`
}

func (r *registrationJSON) registration(connector cluster.Connector) cluster.Registration {
	return cluster.Registration{Version: r.Version, Endpoint: r.Endpoint, CA: r.CA, Issuer: r.Issuer,
		JWKS: string(r.JWKS), InternalURL: r.InternalURL, Connector: connector, ScraperToken: r.ScraperToken}
}

func describe(c *cluster.Cluster) clusterJSON {
	out := clusterJSON{Name: c.Name, ARN: c.ARN(), ID: c.ID, CreatedAt: seconds(c.CreatedAt), Version: c.Version,
		Endpoint: c.Endpoint, Status: "ACTIVE", Tags: c.Tags, Health: healthJSON{Issues: []struct{}{}}}
	out.Identity.OIDC.Issuer = c.Issuer
	out.AccessModes.Mode = "CONFIG_MAP" // no access entries here: the cluster's own rules hold
	if c.CA != "" {
		out.CA = &caJSON{c.CA}
	}
	if c.Connector != (cluster.Connector{}) {
		out.Connector = &c.Connector
	}
	if c.JWKS != "" || c.InternalURL != "" || c.Scrapable {
		out.Mangru = &registrationJSON{Issuer: c.Issuer, InternalURL: c.InternalURL, JWKS: json.RawMessage(c.JWKS), Scrapable: c.Scrapable}
	}
	return out
}

func writeCluster(w http.ResponseWriter, c *cluster.Cluster) {
	api.WriteJSON(w, http.StatusOK, map[string]clusterJSON{"cluster": describe(c)})
}

func (e *eks) describeCluster(w http.ResponseWriter, c *api.Call) error {
	name := c.Params["name"]
	cl, err := e.cfg.Clusters.Get(c.Request.Context(), c.Principal.AccountID, name)
	if err != nil {
		return toError(err, name)
	}
	writeCluster(w, cl)
	return nil
}

func (e *eks) listClusters(w http.ResponseWriter, c *api.Call) error {
	limit, err := intParam(c, "maxResults")
	if err != nil {
		return err
	}
	q := c.Request.URL.Query()
	// Without "all" EKS leaves out clusters that it did not make. Here these are
	// the ones that there are.
	if slices.ContainsFunc(q["include"], func(s string) bool { return s != "all" }) {
		return invalidParameter("include: allowed is all")
	}
	list, next, err := e.cfg.Clusters.List(c.Request.Context(), c.Principal.AccountID, limit, q.Get("nextToken"))
	if err != nil {
		return toError(err, "")
	}
	out := struct {
		Clusters  []string `json:"clusters"`
		NextToken string   `json:"nextToken,omitempty"`
	}{make([]string, 0, len(list)), next}
	for _, cl := range list {
		out.Clusters = append(out.Clusters, cl.Name)
	}
	api.WriteJSON(w, http.StatusOK, out)
	return nil
}

// providers are the kinds of clusters that EKS' connector knows.
var providers = []string{"EKS_ANYWHERE", "ANTHOS", "GKE", "AKS", "OPENSHIFT", "TANZU", "RANCHER", "EC2", "OTHER"}

type registerJSON struct {
	Name      string             `json:"name"`
	Connector *cluster.Connector `json:"connectorConfig"`
	Token     string             `json:"clientRequestToken"`
	Tags      map[string]string  `json:"tags"`
	Mangru    *registrationJSON  `json:"mangru"`
}

// check returns what the record holds.
func (r *registerJSON) check() (cluster.Registration, error) {
	if r.Mangru == nil {
		return cluster.Registration{}, invalidParameter(
			"mangru: is required: the cluster's issuer and keys cannot be fetched by an agent here; mangru cluster register sends them")
	}
	var connector cluster.Connector
	if r.Connector != nil {
		connector = *r.Connector
		if !slices.Contains(providers, connector.Provider) {
			return cluster.Registration{}, invalidParameter(fmt.Sprintf("connectorConfig.provider: found %.32q, allowed are %s",
				connector.Provider, strings.Join(providers, ", ")))
		}
	}
	return r.Mangru.registration(connector), nil
}

func (e *eks) registerCluster(w http.ResponseWriter, c *api.Call) error {
	var in registerJSON
	if err := decode(c, &in); err != nil {
		return err
	}
	reg, err := in.check()
	if err != nil {
		return err
	}
	cl, err := e.cfg.Clusters.Register(c.Request.Context(), c.Principal.AccountID,
		cluster.RegisterInput{Name: in.Name, Tags: in.Tags, ClientToken: in.Token, Registration: reg})
	if err != nil {
		return toError(err, in.Name)
	}
	writeCluster(w, cl)
	return nil
}

// updateCluster replaces what a cluster was registered with: a newer version,
// rotated keys.
func (e *eks) updateCluster(w http.ResponseWriter, c *api.Call) error {
	var in registerJSON
	if err := decode(c, &in); err != nil {
		return err
	}
	reg, err := in.check()
	if err != nil {
		return err
	}
	name := c.Params["name"]
	cl, err := e.cfg.Clusters.Update(c.Request.Context(), c.Principal.AccountID, name, reg)
	if err != nil {
		return toError(err, name)
	}
	writeCluster(w, cl)
	return nil
}

func (e *eks) deregisterCluster(w http.ResponseWriter, c *api.Call) error {
	name := c.Params["name"]
	cl, err := e.cfg.Clusters.Deregister(c.Request.Context(), c.Principal.AccountID, name)
	if err != nil {
		return toError(err, name)
	}
	writeCluster(w, cl)
	return nil
}
