// Package cluster keeps the records of Kubernetes clusters that an account has
// registered, and of the Pod Identity associations in them: which service
// account of which cluster acts as which role. It runs nothing: a record says
// where a cluster's API server is and whose keys sign its tokens.
package cluster

import (
	"crypto/cipher"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/webidentity"
)

// Cluster is one registered cluster.
type Cluster struct {
	ID        string // unique, unlike the name, also after the cluster is gone
	AccountID string
	Region    string
	Name      string
	CreatedAt time.Time
	Tags      map[string]string
	// Scrapable says that a token for scrapers is recorded.
	Scrapable bool
	Registration
}

// Registration is what is known of a cluster from outside of these records.
type Registration struct {
	// Version of Kubernetes, such as "1.34"; "" if unknown.
	Version string
	// Endpoint is the URL of the API server; "" if unknown.
	Endpoint string
	// CA is the base64 of the API server's CA certificates in PEM, as
	// kubeconfigs have it.
	CA string
	// Issuer is the URL that service account tokens name as theirs. Required.
	Issuer string
	// JWKS are the keys that sign tokens, as a JSON Web Key Set. Without them
	// the keys are fetched from the issuer.
	JWKS string
	// InternalURL is where the issuer's discovery document is fetched when the
	// issuer's own URL cannot be reached from here.
	InternalURL string
	// Connector is kept as it was given and shown again.
	Connector Connector
	// ScraperToken is the bearer token that scrapers show the API server. It is
	// sealed and never shown again. Nil leaves what is recorded, "" takes it away.
	ScraperToken *string
}

// Connector says what kind of cluster it is.
type Connector struct {
	Provider string `json:"provider,omitempty"` // such as OTHER
	RoleARN  string `json:"roleArn,omitempty"`
}

// TokenIssuer describes who signs the cluster's service account tokens, to
// verify one that is meant for an audience.
func (c *Cluster) TokenIssuer(audience string) webidentity.Issuer {
	iss := webidentity.Issuer{URL: c.Issuer, ClientIDs: []string{audience}, KeySet: []byte(c.JWKS), InternalURL: c.InternalURL}
	if c.InternalURL != "" { // the CA is the API server's, not the public issuer's
		iss.CAPEM, _ = base64.StdEncoding.DecodeString(c.CA) // checked when it was registered
	}
	return iss
}

// ARN returns the cluster's Amazon Resource Name.
func (c *Cluster) ARN() string { return ARN(c.Region, c.AccountID, c.Name) }

// ARN returns the name of a cluster, existing or not.
func ARN(region, account, name string) string {
	return "arn:aws:eks:" + region + ":" + account + ":cluster/" + name
}

// Association lets a service account of a cluster act as a role.
type Association struct {
	ID             string
	Cluster        *Cluster
	Namespace      string
	ServiceAccount string
	RoleARN        string
	// TargetRoleARN, where given, is assumed with RoleARN's credentials, and its
	// credentials are what pods get.
	TargetRoleARN string
	// Policy narrows what the target role's credentials allow, "" for none.
	Policy string
	// NoSessionTags leaves out the tags that name cluster, namespace and pod.
	NoSessionTags bool
	Tags          map[string]string
	CreatedAt     time.Time
	ModifiedAt    time.Time
}

// ARN returns the association's Amazon Resource Name.
func (a *Association) ARN() string {
	return AssociationARN(a.Cluster.Region, a.Cluster.AccountID, a.Cluster.Name, a.ID)
}

// AssociationARN returns the name of an association, existing or not.
func AssociationARN(region, account, clusterName, id string) string {
	return "arn:aws:eks:" + region + ":" + account + ":podidentityassociation/" + clusterName + "/" + id
}

// ExternalID is what the target role's trust policy can demand, so that no other
// association gets to it. It is "" without a target role.
func (a *Association) ExternalID() string {
	if a.TargetRoleARN == "" {
		return ""
	}
	c := a.Cluster
	return strings.Join([]string{c.Region, c.AccountID, c.Name, a.Namespace, a.ServiceAccount}, "/")
}

// ParseARN returns the parts of the ARN of a cluster, or of an association, for
// which id is not empty.
func ParseARN(arn string) (region, account, name, id string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[1] != "aws" || parts[2] != "eks" {
		return "", "", "", "", false
	}
	if name, ok := strings.CutPrefix(parts[5], "cluster/"); ok {
		return parts[3], parts[4], name, "", validName().MatchString(name)
	}
	rest, ok := strings.CutPrefix(parts[5], "podidentityassociation/")
	name, id, found := strings.Cut(rest, "/")
	return parts[3], parts[4], name, id, ok && found && validName().MatchString(name) && validID.MatchString(id)
}

// NotFoundError says that there is no such record.
type NotFoundError struct{ Message string }

// Error implements error.
func (e *NotFoundError) Error() string { return e.Message }

// InvalidError names the input that is wrong.
type InvalidError struct{ Field, Message string }

// Error implements error.
func (e *InvalidError) Error() string { return e.Field + ": " + e.Message }

// ExistsError says that the name is taken, or the client request token was used
// for something else.
type ExistsError struct{ Message string }

// Error implements error.
func (e *ExistsError) Error() string { return e.Message }

// LimitError says that a bound on records is reached.
type LimitError struct{ Message string }

// Error implements error.
func (e *LimitError) Error() string { return e.Message }

// Config of a Service.
type Config struct {
	// Region the records are in. Required.
	Region string
	// MaxClusters bounds an account's clusters, MaxAssociations a cluster's
	// associations. Zero means 100 and 5000.
	MaxClusters, MaxAssociations int
	// Key, 32 bytes, seals the tokens of scrapers. Nil refuses such tokens.
	Key []byte
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Service keeps the records. It is safe for concurrent use.
type Service struct {
	cfg  Config
	db   *bun.DB
	seal cipher.AEAD // nil without a key
}

// New returns the Service over db.
func New(cfg Config, db *bun.DB) (*Service, error) {
	if cfg.Region == "" {
		return nil, errors.New("clusters: no region")
	}
	if cfg.MaxClusters == 0 {
		cfg.MaxClusters = 100
	}
	if cfg.MaxAssociations == 0 {
		cfg.MaxAssociations = 5000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	seal, err := newSeal(cfg.Key)
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, db: db, seal: seal}, nil
}

// Bounds of what a record holds, in bytes where it is text.
const (
	maxURL      = 2048
	maxDocument = 64 << 10 // CA, JWKS
	maxPolicy   = 2048
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	maxToken    = 64
	maxARN      = 2048
)

var (
	validName    = whenUsed(`^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$`)
	validID      = regexp.MustCompile(`^a-[0-9a-z]{17}$`)
	validTag     = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	validVersion = whenUsed(`^[0-9A-Za-z.+_-]{0,64}$`)
	validRole    = whenUsed(`^arn:aws:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
	// A label and a subdomain of DNS, as Kubernetes names namespaces and
	// service accounts.
	validNamespace = whenUsed(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	validAccount   = whenUsed(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
)

// whenUsed compiles an expression when it is first used: those that count to
// hundreds take a lot of memory, and every process of the program has this package.
func whenUsed(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// check cleans a registration and says what is wrong with it.
func (r *Registration) check() error {
	if !validVersion().MatchString(r.Version) {
		return &InvalidError{"version", fmt.Sprintf("found %q, expected a version of Kubernetes such as 1.34", r.Version)}
	}
	if r.Issuer == "" {
		return &InvalidError{"issuer", "is required"}
	}
	if err := checkURL("issuer", r.Issuer); err != nil {
		return err
	}
	if err := checkURL("endpoint", r.Endpoint); err != nil {
		return err
	}
	if err := checkURL("internalUrl", r.InternalURL); err != nil {
		return err
	}
	if err := r.checkScraperToken(); err != nil {
		return err
	}
	if err := checkCA(r.CA); err != nil {
		return err
	}
	if r.Connector.RoleARN != "" && !validRole().MatchString(r.Connector.RoleARN) {
		return &InvalidError{"connectorConfig.roleArn", fmt.Sprintf("'%s' is not the ARN of a role", r.Connector.RoleARN)}
	}
	if len(r.Connector.Provider) > 32 {
		return &InvalidError{"connectorConfig.provider", "at most 32 characters are allowed"}
	}
	return checkJWKS(r.JWKS)
}

func checkURL(field, s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err == nil && len(s) <= maxURL && u.Scheme == "https" && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		return nil
	}
	return &InvalidError{field, fmt.Sprintf("found %.200q, expected a URL that begins with https://, without user, query and fragment", s)}
}

func checkCA(data string) error {
	if data == "" {
		return nil
	}
	bad := func(why string) error { return &InvalidError{"certificateAuthority", why} }
	if len(data) > maxDocument {
		return bad(fmt.Sprintf("at most %d bytes are allowed", maxDocument))
	}
	text, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return bad("is not base64")
	}
	n := 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return bad("holds a " + strings.ToLower(block.Type) + "; only certificates belong there")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return bad("holds a certificate that cannot be read")
		}
		n++
	}
	if n == 0 {
		return bad("holds no certificate in PEM")
	}
	return nil
}

// checkJWKS takes sets with at least one usable key, and none with a private
// one: it would be in every copy of these records.
func checkJWKS(text string) error {
	if text == "" {
		return nil
	}
	bad := func(why string) error { return &InvalidError{"jwks", why} }
	if len(text) > maxDocument {
		return bad(fmt.Sprintf("at most %d bytes are allowed", maxDocument))
	}
	if _, err := webidentity.CheckKeySet([]byte(text)); err != nil {
		return bad(err.Error())
	}
	var set struct {
		Keys []struct {
			D any `json:"d"`
		} `json:"keys"`
	}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return bad(err.Error())
	}
	for i, k := range set.Keys {
		if k.D != nil {
			return bad(fmt.Sprintf("keys[%d] is a private key; it must not leave the API server", i))
		}
	}
	return nil
}

// CheckRole says what is wrong with the ARN of a role in a field.
func CheckRole(field, arn string) error {
	if len(arn) <= maxARN && validRole().MatchString(arn) {
		return nil
	}
	return &InvalidError{field, fmt.Sprintf("found %.300q, expected the ARN of a role", arn)}
}

// CheckTags says what is wrong with a resource's tags.
func CheckTags(tags map[string]string) error { return checkTags(tags) }

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return &InvalidError{"tags", fmt.Sprintf("%d tags, allowed are %d", len(tags), maxTags)}
	}
	for k, v := range tags {
		switch n := utf8.RuneCountInString(k); {
		case n < 1 || n > maxTagKey || !validTag.MatchString(k):
			return &InvalidError{"tags", fmt.Sprintf("key %q: allowed are 1 to %d letters, digits, spaces and _.:/=+-@", k, maxTagKey)}
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return &InvalidError{"tags", fmt.Sprintf("key %q: the prefix aws: is reserved", k)}
		case utf8.RuneCountInString(v) > maxTagValue || !validTag.MatchString(v):
			return &InvalidError{"tags", fmt.Sprintf("value of %q: allowed are 0 to %d letters, digits, spaces and _.:/=+-@", k, maxTagValue)}
		}
	}
	return nil
}

func checkToken(token string) error {
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r < '!' || r > '~' }) {
		return &InvalidError{"clientRequestToken", fmt.Sprintf("allowed are 1 to %d printable ASCII characters", maxToken)}
	}
	return nil
}
