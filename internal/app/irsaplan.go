package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/mangru/mangru/internal/auth/policy"
)

const (
	// roleAnnotation is how a service account names its role.
	roleAnnotation = "eks.amazonaws.com/role-arn"
	// managedBy marks service accounts that were made here.
	managedBy = "app.kubernetes.io/managed-by"
	// Tags of roles that were made for a service account.
	tagCluster        = "mangru/cluster"
	tagServiceAccount = "mangru/service-account"
)

// irsaSpec is what irsa create is asked for.
type irsaSpec struct {
	Cluster, Namespace, ServiceAccount string

	Policies []string // names or ARNs
	Role     string   // "" for one named after the rest
	Boundary string
	RoleOnly bool
	Override bool // take over service accounts that somebody else made
}

// roleName returns the role's name: at most 64 characters, and another one for
// another cluster or account.
func (s *irsaSpec) roleName() string {
	if s.Role != "" {
		return s.Role
	}
	name := strings.Join([]string{s.Cluster, s.Namespace, s.ServiceAccount}, "-")
	name = strings.ReplaceAll(name, ".", "-")
	sum := sha256.Sum256([]byte(s.Cluster + "/" + s.Namespace + "/" + s.ServiceAccount))
	return name[:min(len(name), 55)] + "-" + hex.EncodeToString(sum[:4])
}

func (s *irsaSpec) description() string {
	return "for service account " + s.Namespace + "/" + s.ServiceAccount + " of cluster " + s.Cluster
}

// tags are those by which a role made here is known again.
func (s *irsaSpec) tags() map[string]string {
	return map[string]string{tagCluster: s.Cluster, tagServiceAccount: s.Namespace + "/" + s.ServiceAccount}
}

func pairs(tags map[string]string) (out []string) {
	for _, k := range sortedKeys(tags) {
		out = append(out, k+"="+tags[k])
	}
	return out
}

func (s *irsaSpec) subject() string { return serviceAccountSubject(s.Namespace, s.ServiceAccount) }

func serviceAccountSubject(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

// trust returns the trust policy for the tokens of one service account.
func (s *irsaSpec) trust(account, issuer string) string {
	bare := strings.TrimPrefix(issuer, "https://")
	return trustDocument(trustStatement{Effect: "Allow", Principal: map[string]string{"Federated": providerARN(account, issuer)},
		Action:    []string{"sts:AssumeRoleWithWebIdentity"},
		Condition: map[string]map[string]string{"StringEquals": {bare + ":aud": audienceSTS, bare + ":sub": s.subject()}}})
}

// step is one thing that has to be so, with what it takes.
type step struct {
	Kind   string `json:"kind"` // role, policy, namespace, service account
	Name   string `json:"name"`
	Result string `json:"result"` // created, updated, attached or unchanged

	detail string // what is written, YAML or JSON
	do     func(context.Context) error
}

// The result of attaching a policy.
const resultAttached = "attached"

// irsaPlan finds out what there is, and so what there is to do.
type irsaPlan struct {
	aws  *awsClient
	kube kubernetes.Interface // nil where only the role is wanted
	spec *irsaSpec

	account, issuer, roleARN string
	steps                    []step
}

// newIRSAPlan reads the server and the cluster. It changes nothing.
func newIRSAPlan(ctx context.Context, c *awsClient, kube kubernetes.Interface, spec *irsaSpec) (*irsaPlan, error) {
	p := &irsaPlan{aws: c, kube: kube, spec: spec}
	d, err := c.cluster(ctx, spec.Cluster)
	if err != nil {
		return nil, err
	}
	p.account, p.issuer = d.account(), d.Identity.OIDC.Issuer
	arn := providerARN(p.account, p.issuer)
	if _, err := c.provider(ctx, arn); isCode(err, "NoSuchEntity") {
		return nil, fmt.Errorf("there is no provider %s: make it with mangru cluster register %s", arn, spec.Cluster)
	} else if err != nil {
		return nil, err
	}
	if spec.Boundary != "" {
		if spec.Boundary, err = c.resolvePolicy(ctx, spec.Boundary); err != nil {
			return nil, err
		}
	}
	if err := p.planRole(ctx); err != nil {
		return nil, err
	}
	if kube == nil {
		return p, nil
	}
	if err := p.planNamespace(ctx); err != nil {
		return nil, err
	}
	return p, p.planServiceAccount(ctx)
}

func (p *irsaPlan) add(kind, name, result, detail string, do func(context.Context) error) {
	if result == resultUnchanged {
		do = nil
	}
	p.steps = append(p.steps, step{Kind: kind, Name: name, Result: result, detail: detail, do: do})
}

// planRole compares the role with what it has to be.
func (p *irsaPlan) planRole(ctx context.Context) error {
	name, trust := p.spec.roleName(), p.spec.trust(p.account, p.issuer)
	p.roleARN = "arn:aws:iam::" + p.account + ":role/" + name
	var out struct{ Role iamRole }
	var attached []attachedPolicy
	kind := entityKind{title: "Role"}
	err := p.aws.iam(ctx, "GetRole", kind.form(name), &out)
	switch {
	case isCode(err, "NoSuchEntity"):
		p.add("role", p.roleARN, resultCreated, trust, func(ctx context.Context) error { return p.createRole(ctx, name, trust) })
	case err != nil:
		return err
	default:
		p.roleARN = out.Role.Arn
		if err := p.planTrust(&out.Role, trust); err != nil {
			return err
		}
		if attached, _, err = kind.policies(ctx, p.aws, name); err != nil {
			return err
		}
	}
	has := make(map[string]bool)
	for _, a := range attached {
		has[a.PolicyArn] = true
	}
	for _, want := range p.spec.Policies {
		arn, err := p.aws.resolvePolicy(ctx, want)
		if err != nil {
			return err
		}
		result := resultAttached
		if has[arn] {
			result = resultUnchanged
		}
		has[arn] = true
		p.add("policy", arn, result, "", func(ctx context.Context) error {
			return p.aws.iam(ctx, "AttachRolePolicy", url.Values{"RoleName": {name}, "PolicyArn": {arn}}, nil)
		})
	}
	return nil
}

// planTrust compares the trust policy of a role that is there. One that was not
// made for this service account is left alone.
func (p *irsaPlan) planTrust(role *iamRole, trust string) error {
	if err := role.decode(); err != nil {
		return err
	}
	if sameJSON(role.AssumeRolePolicyDocument, trust) {
		p.add("role", role.Arn, resultUnchanged, trust, nil)
		return nil
	}
	if tagValue(role.Tags, tagServiceAccount) != p.spec.Namespace+"/"+p.spec.ServiceAccount {
		return fmt.Errorf("role %s is there and trusts %s: choose another with --role-name, or delete it", role.Arn, trusted(role.AssumeRolePolicyDocument))
	}
	name := role.RoleName
	p.add("role", role.Arn, resultUpdated, trust, func(ctx context.Context) error {
		return p.aws.iam(ctx, "UpdateAssumeRolePolicy", url.Values{"RoleName": {name}, "PolicyDocument": {trust}}, nil)
	})
	return nil
}

func tagValue(tags []iamTag, key string) string {
	for _, t := range tags {
		if t.Key == key {
			return t.Value
		}
	}
	return ""
}

func (p *irsaPlan) createRole(ctx context.Context, name, trust string) error {
	form := url.Values{"RoleName": {name}, "AssumeRolePolicyDocument": {trust},
		"Description": {p.spec.description()}}
	setTags(form, p.spec.tags())
	if p.spec.Boundary != "" {
		form.Set("PermissionsBoundary", p.spec.Boundary)
	}
	return p.aws.iam(ctx, "CreateRole", form, nil)
}

func (p *irsaPlan) planNamespace(ctx context.Context) error {
	ns := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: p.spec.Namespace}}
	_, err := p.kube.CoreV1().Namespaces().Get(ctx, p.spec.Namespace, metav1.GetOptions{})
	result := resultUnchanged
	if apierrors.IsNotFound(err) {
		result = resultCreated
	} else if err != nil {
		return fmt.Errorf("namespace %s: %w", p.spec.Namespace, err)
	}
	p.add("namespace", p.spec.Namespace, result, manifest(ns), func(ctx context.Context) error {
		_, err := p.kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	return nil
}

func (p *irsaPlan) planServiceAccount(ctx context.Context) error {
	accounts, name := p.kube.CoreV1().ServiceAccounts(p.spec.Namespace), p.spec.Namespace+"/"+p.spec.ServiceAccount
	sa, err := accounts.Get(ctx, p.spec.ServiceAccount, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		sa = &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
			ObjectMeta: metav1.ObjectMeta{Namespace: p.spec.Namespace, Name: p.spec.ServiceAccount,
				Labels: map[string]string{managedBy: "mangru"}, Annotations: map[string]string{roleAnnotation: p.roleARN}}}
		p.add("service account", name, resultCreated, manifest(sa), func(ctx context.Context) error {
			_, err := accounts.Create(ctx, sa, metav1.CreateOptions{})
			return err
		})
		return nil
	}
	if err != nil {
		return fmt.Errorf("service account %s: %w", name, err)
	}
	was := sa.Annotations[roleAnnotation]
	shown := &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: metav1.ObjectMeta{Namespace: sa.Namespace, Name: sa.Name, Annotations: map[string]string{roleAnnotation: p.roleARN}}}
	switch {
	case was == p.roleARN:
		p.add("service account", name, resultUnchanged, manifest(shown), nil)
		return nil
	case sa.Labels[managedBy] != "mangru" && !p.spec.Override:
		why := "was made by somebody else"
		if was != "" {
			why = "acts as " + was
		}
		return fmt.Errorf("service account %s is there and %s: --override-existing-serviceaccounts gives it the role, --role-only leaves it alone", name, why)
	}
	p.add("service account", name, resultUpdated, manifest(shown), func(ctx context.Context) error {
		// Read again: only the annotation is ours to change.
		sa, err := accounts.Get(ctx, p.spec.ServiceAccount, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if sa.Annotations == nil {
			sa.Annotations = make(map[string]string)
		}
		sa.Annotations[roleAnnotation] = p.roleARN
		_, err = accounts.Update(ctx, sa, metav1.UpdateOptions{})
		return err
	})
	return nil
}

// manifest writes an object as kubectl apply takes it.
func manifest(object any) string {
	b, _ := json.Marshal(object) // API objects always encode
	var fields map[string]any
	_ = json.Unmarshal(b, &fields) // it was just written
	delete(fields, "status")
	delete(fields, "spec")
	if meta, ok := fields["metadata"].(map[string]any); ok {
		delete(meta, "creationTimestamp")
	}
	text, _ := yaml.Marshal(fields) // what JSON had YAML has
	return string(text)
}

// run does the steps, in order. What was done before a failure stays done, and
// the next run goes on from there.
func (p *irsaPlan) run(ctx context.Context) error {
	for i := range p.steps {
		s := &p.steps[i]
		if s.do == nil {
			continue
		}
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s %s: %w", s.Kind, s.Name, err)
		}
	}
	return nil
}

// print writes what run would do: objects as YAML, policies as JSON.
func (p *irsaPlan) print(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Nothing was changed. Without --dry-run this would happen:\n")
	for i := range p.steps {
		s := &p.steps[i]
		verb := map[string]string{resultCreated: "create", resultUpdated: "update", resultAttached: "attach", resultUnchanged: "leave unchanged"}[s.Result]
		fmt.Fprintf(&b, "\n# %s %s %s\n", verb, s.Kind, s.Name)
		if s.Result == resultUnchanged || s.detail == "" {
			continue
		}
		if s.Kind == "role" {
			if s.Result == resultCreated {
				fmt.Fprintf(&b, "# described: %s\n# tagged: %s\n", p.spec.description(), strings.Join(pairs(p.spec.tags()), " "))
				if p.spec.Boundary != "" {
					b.WriteString("# bounded by: " + p.spec.Boundary + "\n")
				}
			}
			b.WriteString("# with this trust policy:\n" + s.detail + "\n")
			continue
		}
		b.WriteString("---\n" + s.detail)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// irsaBinding is a service account that names a role.
type irsaBinding struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	RoleARN        string `json:"roleArn"`
	Status         string `json:"status"` // ok, or what is wrong
}

// irsaBindings lists the service accounts of a cluster that name a role, and
// says whether the role would let them.
func irsaBindings(ctx context.Context, c *awsClient, kube kubernetes.Interface, clusterName, namespace string) ([]irsaBinding, error) {
	d, err := c.cluster(ctx, clusterName)
	if err != nil {
		return nil, err
	}
	list := []irsaBinding{}
	opts := metav1.ListOptions{Limit: 500}
	for {
		page, err := kube.CoreV1().ServiceAccounts(namespace).List(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("service accounts: %w", err)
		}
		for i := range page.Items {
			sa := &page.Items[i]
			arn := sa.Annotations[roleAnnotation]
			if arn == "" {
				continue
			}
			status, err := bindingStatus(ctx, c, &d, sa, arn)
			if err != nil {
				return nil, err
			}
			list = append(list, irsaBinding{sa.Namespace, sa.Name, arn, status})
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			return list, nil
		}
	}
}

// bindingStatus asks the role's trust policy about a service account's token.
func bindingStatus(ctx context.Context, c *awsClient, d *describedCluster, sa *corev1.ServiceAccount, arn string) (string, error) {
	account, issuer := d.account(), d.Identity.OIDC.Issuer
	if !strings.HasPrefix(arn, "arn:aws:iam::"+account+":role/") {
		return "a role of another account", nil
	}
	var out struct{ Role iamRole }
	err := c.iam(ctx, "GetRole", url.Values{"RoleName": {arn[strings.LastIndexByte(arn, '/')+1:]}}, &out)
	if isCode(err, "NoSuchEntity") || err == nil && out.Role.Arn != arn {
		return "there is no such role", nil
	}
	if err != nil {
		return "", err
	}
	if err := out.Role.decode(); err != nil {
		return "", err
	}
	doc, err := policy.Parse([]byte(out.Role.AssumeRolePolicyDocument), policy.Trust)
	if err != nil {
		return "the trust policy cannot be read", nil //nolint:nilerr // it is what the list is to show
	}
	bare := strings.TrimPrefix(issuer, "https://")
	yes := policy.Evaluate(policy.Request{
		Principal: policy.Principal{Federated: providerARN(account, issuer)}, Action: "sts:AssumeRoleWithWebIdentity", Resource: arn,
		Context: map[string][]string{strings.ToLower(bare) + ":aud": {audienceSTS}, strings.ToLower(bare) + ":sub": {serviceAccountSubject(sa.Namespace, sa.Name)}},
	}, policy.Set{Trust: true, ResourceAccount: account, Resource: []policy.Source{{Name: arn, Document: doc}}})
	if !yes.Allowed {
		return "the role does not trust this service account", nil
	}
	return "ok", nil
}
