package eksapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/auth/webidentity"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/cluster"
)

// Tokens verifies the tokens of a cluster's service accounts; it is what
// *webidentity.Verifier does.
type Tokens interface {
	Verify(ctx context.Context, t *webidentity.Token, iss webidentity.Issuer) (*webidentity.Claims, error)
	Refused(r webidentity.Reason)
}

// PodSession says which pod gets a role's credentials. The pod has been
// verified, and the role is the one that its service account is associated with.
type PodSession struct {
	RoleARN                   string
	ClusterARN, ClusterName   string
	Namespace, ServiceAccount string
	Pod, PodUID               string
	// NoSessionTags leaves out the tags that tell the pod.
	NoSessionTags bool
	// TargetRoleARN, where given, is assumed with the role's credentials and
	// ExternalID, narrowed by Policy (JSON, "" for none); its credentials are
	// handed out.
	TargetRoleARN, ExternalID, Policy string
	// Context holds the condition keys of the request.
	Context map[string][]string
}

// Credentials are temporary ones with the session that they are of.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string

	Expiration      time.Time
	RoleARN, RoleID string // of the session: arn:aws:sts::…:assumed-role/…, AROA…:NAME
}

// ErrNotTrusted says that there is no such role, or that its trust policy does
// not allow the service to assume it.
var ErrNotTrusted = errors.New("role cannot be assumed")

// Sessions makes temporary credentials.
type Sessions interface {
	// AssumeForPod returns ErrNotTrusted where the caller may not be told more.
	AssumeForPod(ctx context.Context, in PodSession) (Credentials, error)
}

type auth struct{ cfg Config }

// NewAuth returns the operation of EKS Auth.
func NewAuth(cfg Config) (api.Service, error) {
	if cfg.Region == "" || cfg.Clusters == nil || cfg.Tokens == nil || cfg.Sessions == nil {
		return api.Service{}, errors.New("eks-auth: region, clusters, tokens and sessions are required")
	}
	a := &auth{cfg}
	return api.Service{Name: ServiceEKSAuth, Hosts: []string{"eks-auth"}, Routes: []api.Route{{
		Name: "AssumeRoleForPodIdentity", Method: "POST", Path: "/clusters/{clusterName}/assume-role-for-pod-identity",
		Action: "eks-auth:AssumeRoleForPodIdentity", Anonymous: true,
		Resource: func(c *api.Call) (string, error) {
			return cluster.ARN(cfg.Region, c.Principal.AccountID, c.Params["clusterName"]), nil
		},
		MaxBody: 32 << 10, Handle: a.assume,
	}}}, nil
}

func refused(code, message string) *api.Error {
	return &api.Error{Status: http.StatusBadRequest, Code: code, Message: message}
}

// errInvalidToken is the answer to every token that does not prove what it says,
// also where there is no such cluster: a stranger learns nothing from it.
func errInvalidToken() *api.Error {
	return refused("InvalidTokenException", "The token included in the request is not valid for this cluster.")
}

func (a *auth) assume(w http.ResponseWriter, c *api.Call) error {
	var in struct {
		Token string `json:"token"`
	}
	if err := decode(c, &in); err != nil {
		return err
	}
	if in.Token == "" {
		return invalidParameter("token: is required")
	}
	ctx := c.Request.Context()
	token, err := webidentity.Parse(in.Token)
	if err != nil {
		return a.refuseToken(ctx, err)
	}
	cl, err := a.cluster(ctx, c, token.Issuer())
	if err != nil {
		return err
	}
	claims, err := a.cfg.Tokens.Verify(ctx, token, cl.TokenIssuer(podService))
	if err != nil {
		return tokenError(ctx, err)
	}
	httpserver.Annotate(ctx, slog.String("subject", claims.Subject))
	pod, ok := claims.Kubernetes()
	if !ok || pod.Pod == "" {
		return refused("InvalidTokenException", "The token included in the request is not one that a cluster made for a pod.")
	}
	return a.handOut(w, c, cl, pod)
}

// explain writes into the request's log line what its sender is not told.
func explain(ctx context.Context, why error) {
	httpserver.Annotate(ctx, slog.String("reason", why.Error()))
}

// refuseToken answers a token that was refused before its verification.
func (a *auth) refuseToken(ctx context.Context, err error) error {
	var e *webidentity.Error
	if !errors.As(err, &e) {
		return err
	}
	a.cfg.Tokens.Refused(e.Reason)
	explain(ctx, err)
	return errInvalidToken()
}

func tokenError(ctx context.Context, err error) error {
	var e *webidentity.Error
	if !errors.As(err, &e) {
		return err
	}
	explain(ctx, err)
	switch e.Reason {
	case webidentity.ReasonExpired:
		return refused("ExpiredTokenException", "The token included in the request is expired.")
	case webidentity.ReasonUnreachable, webidentity.ReasonDiscovery:
		return &api.Error{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailableException",
			Message: "The keys of the cluster's issuer cannot be fetched at present."}
	}
	return errInvalidToken()
}

// cluster finds the cluster that a token is presented for. The path has a name,
// or an ARN where the name alone would not do. A signature that came along says
// in whose account; without one, the name and the token's issuer have to fit
// exactly one cluster, so that nobody is taken for a tenant of an account that
// registered somebody else's cluster too.
func (a *auth) cluster(ctx context.Context, c *api.Call, issuer string) (*cluster.Cluster, error) {
	name, account := c.Params["clusterName"], c.Principal.AccountID
	if region, acc, n, id, ok := cluster.ParseARN(name); ok {
		if region != a.cfg.Region || id != "" || account != "" && acc != account {
			return nil, errInvalidToken()
		}
		name, account = n, acc
	}
	all, err := a.cfg.Clusters.Named(ctx, name)
	if err != nil {
		return nil, err
	}
	var found *cluster.Cluster
	for _, cl := range all {
		if cl.Issuer != issuer || account != "" && cl.AccountID != account {
			continue
		}
		if found != nil {
			return nil, refused("InvalidRequestException", "More than one account has a cluster of this name and issuer: use the cluster's ARN.")
		}
		found = cl
	}
	if found == nil {
		a.cfg.Tokens.Refused(webidentity.ReasonIssuer)
		return nil, errInvalidToken()
	}
	return found, nil
}

type credentialsJSON struct {
	AccessKeyID     string          `json:"accessKeyId"`
	SecretAccessKey string          `json:"secretAccessKey"`
	SessionToken    string          `json:"sessionToken"`
	Expiration      json.RawMessage `json:"expiration"`
}

type handedOutJSON struct {
	Subject struct {
		Namespace      string `json:"namespace"`
		ServiceAccount string `json:"serviceAccount"`
	} `json:"subject"`
	Audience    string `json:"audience"`
	Association struct {
		ARN string `json:"associationArn"`
		ID  string `json:"associationId"`
	} `json:"podIdentityAssociation"`
	AssumedRole struct {
		ARN string `json:"arn"`
		ID  string `json:"assumeRoleId"`
	} `json:"assumedRoleUser"`
	Credentials credentialsJSON `json:"credentials"`
}

func (a *auth) handOut(w http.ResponseWriter, c *api.Call, cl *cluster.Cluster, pod webidentity.Kubernetes) error {
	ctx := c.Request.Context()
	as, err := a.cfg.Clusters.AssociationOf(ctx, cl, pod.Namespace, pod.ServiceAccount)
	if err != nil {
		return toError(err, "")
	}
	httpserver.Annotate(ctx, slog.String("resource", as.RoleARN))
	creds, err := a.cfg.Sessions.AssumeForPod(ctx, PodSession{
		RoleARN: as.RoleARN, ClusterARN: cl.ARN(), ClusterName: cl.Name, Namespace: pod.Namespace, ServiceAccount: pod.ServiceAccount,
		Pod: pod.Pod, PodUID: pod.PodUID, NoSessionTags: as.NoSessionTags,
		TargetRoleARN: as.TargetRoleARN, ExternalID: as.ExternalID(), Policy: as.Policy, Context: c.Context})
	if errors.Is(err, ErrNotTrusted) {
		explain(ctx, err)
		return refused("AccessDeniedException", "Unauthorized Exception! EKS does not have permissions to assume the associated role.")
	}
	if err != nil {
		return err
	}
	httpserver.SetPrincipal(ctx, creds.RoleARN)
	var out handedOutJSON
	out.Subject.Namespace, out.Subject.ServiceAccount = pod.Namespace, pod.ServiceAccount
	out.Audience = podService
	out.Association.ARN, out.Association.ID = as.ARN(), as.ID
	out.AssumedRole.ARN, out.AssumedRole.ID = creds.RoleARN, creds.RoleID
	out.Credentials = credentialsJSON{creds.AccessKeyID, creds.SecretAccessKey, creds.SessionToken, seconds(creds.Expiration)}
	w.Header().Set("Cache-Control", "no-store")
	api.WriteJSON(w, http.StatusOK, out)
	return nil
}

// accountOfRole returns the account field of a role's ARN.
func accountOfRole(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
