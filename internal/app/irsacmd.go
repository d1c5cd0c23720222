package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func newIRSACmd() *cobra.Command {
	f := &awsFlags{}
	return group("irsa", "Let service accounts act as roles",
		"IRSA (IAM roles for service accounts): a pod proves by its service account's token who it is, and gets temporary\n"+
			"credentials for the role that its service account names. No key is kept in the cluster.", f,
		newIRSACreateCmd(f), newIRSAListCmd(f), newIRSADeleteCmd(f))
}

// eksctlNames lets the flags of eksctl create iamserviceaccount be used.
func eksctlNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "name":
		name = "service-account"
	case "attach-policy-arn":
		name = "policy"
	}
	return pflag.NormalizedName(name)
}

// chooseCluster returns the cluster that was named, or where none was the only
// one there is.
func (c *awsClient) chooseCluster(ctx context.Context, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	list, err := c.clusters(ctx)
	if err != nil {
		return "", err
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	switch len(names) {
	case 0:
		return "", usagef("--cluster: none is registered yet; mangru cluster register NAME does")
	case 1:
		return names[0], nil
	}
	return "", usagef("--cluster: required, since there are several: %s", strings.Join(names, ", "))
}

// client returns a client of the cluster.
func (k *kubeFlags) client() (kubernetes.Interface, error) {
	cfg, err := k.config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

func newIRSACreateCmd(f *awsFlags) *cobra.Command {
	kube := &kubeFlags{}
	spec := &irsaSpec{}
	var dryRun, approve bool
	c := &cobra.Command{Use: "create", Short: "Make a role for a service account, and the service account itself",
		Long: "Makes what a service account needs to act as a role: the role, which trusts the tokens of this service account\n" +
			"of this cluster and no others; its policies; the namespace; and the service account with the annotation\n" +
			roleAnnotation + ". What is there already stays: a second run changes nothing.\n" +
			"The flags of eksctl create iamserviceaccount work too (--name, --attach-policy-arn, --approve).",
		Example: "  mangru irsa create --namespace prometheus --service-account amp-irsa-role \\\n" +
			"    --policy AmazonPrometheusRemoteWriteAccess",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := spec.check(); err != nil {
				return err
			}
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			if spec.Cluster, err = c.chooseCluster(ctx, spec.Cluster); err != nil {
				return err
			}
			var k kubernetes.Interface
			if !spec.RoleOnly {
				if k, err = kube.client(); err != nil {
					return err
				}
			}
			p, err := newIRSAPlan(ctx, c, k, spec)
			if err != nil {
				return err
			}
			if dryRun {
				return p.print(cmd.OutOrStdout())
			}
			if err := p.run(ctx); err != nil {
				return err
			}
			return f.show(cmd, map[string]any{"steps": p.steps}, func(t *table) {
				for i := range p.steps {
					t.row(p.steps[i].Kind, p.steps[i].Name, p.steps[i].Result)
				}
			})
		}}
	kube.register(c)
	c.Flags().StringVar(&spec.Cluster, "cluster", "", "name of a registered cluster (default: the only one)")
	c.Flags().StringVarP(&spec.Namespace, "namespace", "n", "default", "namespace of the service account")
	c.Flags().StringVar(&spec.ServiceAccount, "service-account", "", "name of the service account")
	c.Flags().StringSliceVar(&spec.Policies, "policy", nil, "policy of the role, name or ARN; may be repeated")
	c.Flags().StringVar(&spec.Role, "role-name", "", "name of the role (default made of cluster, namespace and service account)")
	c.Flags().StringVar(&spec.Boundary, "permissions-boundary", "", "policy that bounds what the role can ever be allowed")
	c.Flags().BoolVar(&spec.RoleOnly, "role-only", false, "make the role only, and leave the cluster alone")
	c.Flags().BoolVar(&spec.Override, "override-existing-serviceaccounts", false, "give a service account that somebody else made the role")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done, and do nothing")
	c.Flags().BoolVar(&approve, "approve", false, "has no effect: without --dry-run things are done")
	c.Flags().SetNormalizeFunc(eksctlNames)
	return c
}

func (s *irsaSpec) check() error {
	var missing []string
	for flag, value := range map[string]string{"--namespace": s.Namespace, "--service-account": s.ServiceAccount} {
		if value == "" {
			missing = append(missing, flag)
		}
	}
	switch {
	case len(missing) > 0:
		return usagef("%s: required", strings.Join(missing, ", "))
	case len(s.Policies) == 0 && s.Role == "":
		return usagef("--policy: name at least one, for without any the role may do nothing")
	case s.RoleOnly && s.Override:
		return usagef("--role-only leaves service accounts alone: leave --override-existing-serviceaccounts away")
	}
	return nil
}

func newIRSAListCmd(f *awsFlags) *cobra.Command {
	kube := &kubeFlags{}
	var cluster, namespace string
	c := &cobra.Command{Use: "list", Short: "List the service accounts of a cluster that name a role, and whether the role lets them",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			if cluster, err = c.chooseCluster(cmd.Context(), cluster); err != nil {
				return err
			}
			k, err := kube.client()
			if err != nil {
				return err
			}
			list, err := irsaBindings(cmd.Context(), c, k, cluster, namespace)
			if err != nil {
				return err
			}
			return f.show(cmd, map[string]any{"serviceAccounts": list}, func(t *table) {
				t.row("NAMESPACE", "SERVICE ACCOUNT", "ROLE", "STATUS")
				for _, b := range list {
					t.row(b.Namespace, b.ServiceAccount, b.RoleARN, b.Status)
				}
			})
		}}
	kube.register(c)
	c.Flags().StringVar(&cluster, "cluster", "", "name of a registered cluster (default: the only one)")
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace")
	return c
}

func newIRSADeleteCmd(f *awsFlags) *cobra.Command {
	kube := &kubeFlags{}
	spec := &irsaSpec{}
	c := &cobra.Command{Use: "delete", Short: "Undo irsa create: the role, and the service account if it was made by it",
		Long: "Deletes the role if it was made for this service account, and the service account if irsa create made it; from\n" +
			"another one it only takes the annotation. The namespace stays.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if spec.ServiceAccount == "" {
				return usagef("--service-account: required")
			}
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			if spec.Cluster, err = c.chooseCluster(ctx, spec.Cluster); err != nil {
				return err
			}
			var k kubernetes.Interface
			if !spec.RoleOnly {
				if k, err = kube.client(); err != nil {
					return err
				}
			}
			steps, err := deleteIRSA(ctx, c, k, spec)
			if err != nil {
				return err
			}
			return f.show(cmd, map[string]any{"steps": steps}, func(t *table) {
				for i := range steps {
					t.row(steps[i].Kind, steps[i].Name, steps[i].Result)
				}
			})
		}}
	kube.register(c)
	c.Flags().StringVar(&spec.Cluster, "cluster", "", "name of a registered cluster (default: the only one)")
	c.Flags().StringVarP(&spec.Namespace, "namespace", "n", "default", "namespace of the service account")
	c.Flags().StringVar(&spec.ServiceAccount, "service-account", "", "name of the service account")
	c.Flags().StringVar(&spec.Role, "role-name", "", "name of the role (default the one that its service account names)")
	c.Flags().BoolVar(&spec.RoleOnly, "role-only", false, "delete the role only, and leave the cluster alone")
	c.Flags().SetNormalizeFunc(eksctlNames)
	return c
}

// The results of taking something away.
const (
	resultDeleted = "deleted"
	resultAbsent  = "was not there"
)

// deleteIRSA takes the service account's right away first, then the role.
func deleteIRSA(ctx context.Context, c *awsClient, kube kubernetes.Interface, spec *irsaSpec) ([]step, error) {
	steps, role := []step{}, spec.roleName()
	if kube != nil {
		s, named, err := deleteServiceAccount(ctx, kube, spec)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
		if named != "" && spec.Role == "" {
			role = named[strings.LastIndexByte(named, '/')+1:]
		}
	}
	kind := entityKind{title: "Role"}
	var out struct{ Role iamRole }
	err := c.iam(ctx, "GetRole", kind.form(role), &out)
	if isCode(err, "NoSuchEntity") {
		return append(steps, step{Kind: "role", Name: role, Result: resultAbsent}), nil
	}
	if err != nil {
		return nil, err
	}
	if tagValue(out.Role.Tags, tagServiceAccount) != spec.Namespace+"/"+spec.ServiceAccount || tagValue(out.Role.Tags, tagCluster) != spec.Cluster {
		return append(steps, step{Kind: "role", Name: out.Role.Arn, Result: "kept: it was not made for this service account"}), nil
	}
	if err := kind.strip(ctx, c, role); err != nil {
		return nil, err
	}
	if err := c.iam(ctx, "DeleteRole", kind.form(role), nil); err != nil {
		return nil, err
	}
	return append(steps, step{Kind: "role", Name: out.Role.Arn, Result: resultDeleted}), nil
}

// deleteServiceAccount returns the role that the service account named.
func deleteServiceAccount(ctx context.Context, kube kubernetes.Interface, spec *irsaSpec) (s step, role string, err error) {
	s = step{Kind: "service account", Name: spec.Namespace + "/" + spec.ServiceAccount, Result: resultDeleted}
	accounts := kube.CoreV1().ServiceAccounts(spec.Namespace)
	sa, err := accounts.Get(ctx, spec.ServiceAccount, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.Result = resultAbsent
		return s, "", nil
	}
	if err != nil {
		return s, "", fmt.Errorf("service account %s: %w", s.Name, err)
	}
	role = sa.Annotations[roleAnnotation]
	if sa.Labels[managedBy] == "mangru" {
		return s, role, wrapStep(s, accounts.Delete(ctx, sa.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &sa.UID}}))
	}
	if role == "" {
		s.Result = resultUnchanged
		return s, "", nil
	}
	s.Result = "annotation taken"
	changed := sa.DeepCopy()
	delete(changed.Annotations, roleAnnotation)
	_, err = accounts.Update(ctx, changed, metav1.UpdateOptions{})
	return s, role, wrapStep(s, err)
}

func wrapStep(s step, err error) error {
	if err == nil {
		return nil
	}
	if apierrors.IsConflict(err) {
		return errors.New(s.Kind + " " + s.Name + " was changed meanwhile: run the command again")
	}
	return fmt.Errorf("%s %s: %w", s.Kind, s.Name, err)
}
