package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/dashboard/provision"
	"github.com/mangru/mangru/internal/doctor"
	"github.com/mangru/mangru/internal/install"
)

// doctorRun is one examination.
type doctorRun struct {
	releaseFlags
	workspace string // URL; empty means that of the release
	region    string
	output    string
	wait      time.Duration
	all       bool
}

func newDoctorCmd() *cobra.Command {
	d := &doctorRun{}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong between a cluster and its dashboards",
		Long: "Walks the path of a sample: pods, rights, discovery, targets, sending, the workspace, rules and boards. It writes a\n" +
			"sample and times its way to the query API. From outside the cluster it reaches the release's server through the API\n" +
			"server, with a token of the release's service account for it; --workspace names another workspace, which is called with\n" +
			"the usual AWS credentials. It ends with 0 when all is well, 3 with warnings only, 1 with failures.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.output != "table" && d.output != "json" {
				return usagef("--output: found %q, allowed are table and json", d.output)
			}
			report, err := d.untilWell(cmd.Context())
			if err != nil {
				return err
			}
			if d.output == "json" {
				text, err := json.MarshalIndent(report, "", "  ")
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
				if err != nil {
					return err
				}
			} else if err := report.Print(cmd.OutOrStdout()); err != nil {
				return err
			}
			if code := report.ExitCode(); code != 0 {
				return &ExitError{Code: code, Err: fmt.Errorf("worst finding: %s", report.Worst)}
			}
			return nil
		},
	}
	d.register(c)
	f := c.Flags()
	f.StringVar(&d.workspace, "workspace", "", "URL of another workspace, such as https://aps-workspaces.REGION.amazonaws.com/workspaces/ws-…/")
	f.StringVar(&d.region, "region", "", "region of --workspace (default from the environment)")
	f.StringVarP(&d.output, "output", "o", "table", "table or json")
	f.DurationVar(&d.wait, "wait", 0, "examine again until nothing is wrong, for this long")
	f.BoolVarP(&d.all, "all-namespaces", "A", false, "look for collectors in all namespaces")
	return c
}

// untilWell examines once, or until all is well or the time is over.
func (d *doctorRun) untilWell(ctx context.Context) (*doctor.Report, error) {
	deadline := time.Now().Add(d.wait)
	for {
		report, err := d.examine(ctx)
		if err != nil || report.ExitCode() == 0 || time.Now().After(deadline) {
			return report, err
		}
		select {
		case <-ctx.Done():
			return report, nil
		case <-time.After(2 * time.Second):
		}
	}
}

func (d *doctorRun) examine(ctx context.Context) (*doctor.Report, error) {
	config, err := d.kube.config()
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	report := &doctor.Report{}
	namespace := d.namespace
	if d.all {
		namespace = ""
	}
	doctor.Cluster{Kube: kube, Namespace: namespace, Trouble: install.PodTrouble}.Check(ctx, report)
	w, done, err := d.reach(ctx, config, kube)
	if err != nil {
		report.Checks = append(report.Checks, doctor.Check{Area: "workspace", Name: "access", Level: doctor.Failure, Evidence: err.Error(), Fix: doctor.Advice(err.Error())})
		report.Worst = doctor.Failure
		return report, nil
	}
	defer done()
	if w == nil {
		report.Checks = append(report.Checks, doctor.Check{Area: "workspace", Name: "access", Level: doctor.Skipped,
			Evidence: "the release has no server; --workspace URL names the workspace that its collectors write to"})
		return report, nil
	}
	w.Boards = provision.Bundled()
	w.Check(ctx, report)
	return report, nil
}

// reach finds the workspace and a way to it; nil where there is none.
func (d *doctorRun) reach(ctx context.Context, config *rest.Config, kube kubernetes.Interface) (*doctor.Workspace, func(), error) {
	if d.workspace != "" {
		w, err := newDoctorWorkspace(strings.TrimSuffix(d.workspace, "/")+"/", sigv4.SignConfig{Region: d.region, Service: "aps"})
		return w, func() {}, err
	}
	site, err := kube.CoreV1().ConfigMaps(d.namespace).Get(ctx, d.release+"-site", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, func() {}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read what the server says about itself: %w", err)
	}
	if site.Data["workspace"] == "" {
		return nil, nil, fmt.Errorf("the server has not written ConfigMap %s/%s yet: see its log", d.namespace, site.Name)
	}
	path := "/workspaces/" + site.Data["workspace"] + "/"
	sign := sigv4.SignConfig{Region: site.Data["region"], Service: "aps"}
	if os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" && os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		w, err := newDoctorWorkspace(site.Data["endpoint"]+path, sign) // in a pod of its own
		return w, func() {}, err
	}
	address, stop, err := forward(ctx, config, kube, d.namespace, "app.kubernetes.io/name=mangru-server,app.kubernetes.io/instance="+d.release, 9009)
	if err != nil {
		return nil, nil, err
	}
	base := "http://" + address
	if err := d.assume(ctx, kube, base, site.Data["account"], &sign); err != nil {
		stop()
		return nil, nil, err
	}
	w, err := newDoctorWorkspace(base+path, sign)
	if err != nil {
		stop()
		return nil, nil, err
	}
	return w, stop, nil
}

// assume gets credentials of the doctor's role for a token of its service account.
func (d *doctorRun) assume(ctx context.Context, kube kubernetes.Interface, endpoint, account string, sign *sigv4.SignConfig) error {
	life := int64(600)
	token, err := kube.CoreV1().ServiceAccounts(d.namespace).CreateToken(ctx, d.release+"-doctor", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audienceSTS}, ExpirationSeconds: &life},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("a token of service account %s/%s-doctor: %w", d.namespace, d.release, err)
	}
	client := sts.New(sts.Options{Region: sign.Region, BaseEndpoint: &endpoint, Credentials: aws.AnonymousCredentials{}})
	role, session := "arn:aws:iam::"+account+":role/"+d.release+"-doctor", "doctor"
	out, err := client.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{RoleArn: &role, RoleSessionName: &session, WebIdentityToken: &token.Status.Token})
	if err != nil {
		return fmt.Errorf("act as %s: %w", role, err)
	}
	sign.AccessKey, sign.SecretKey, sign.SessionToken = aws.ToString(out.Credentials.AccessKeyId), aws.ToString(out.Credentials.SecretAccessKey), aws.ToString(out.Credentials.SessionToken)
	return nil
}

func newDoctorWorkspace(url string, sign sigv4.SignConfig) (*doctor.Workspace, error) {
	transport, err := newTransport(os.Getenv("AWS_CA_BUNDLE"))
	if err != nil {
		return nil, err
	}
	signer, err := sigv4.NewSigner(sign, transport)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: signer, Timeout: callTimeout}
	return &doctor.Workspace{URL: url, Client: client, Write: func(ctx context.Context, labels map[string]string, value float64, at time.Time) error {
		return writeSample(ctx, client, url+"api/v1/remote_write", labels, value, at)
	}}, nil
}

// forward opens a way to a port of a ready pod, through the API server.
func forward(ctx context.Context, config *rest.Config, kube kubernetes.Interface, namespace, selector string, port int) (address string, stop func(), err error) {
	pods, err := kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector, FieldSelector: "status.phase=Running"})
	if err != nil {
		return "", nil, err
	}
	var pod *corev1.Pod
	for i := range pods.Items {
		pod = &pods.Items[i]
	}
	if pod == nil {
		return "", nil, fmt.Errorf("no pod of the server (%s) runs in namespace %s", selector, namespace)
	}
	config = rest.CopyConfig(config)
	config.Timeout = 0 // the connection lasts
	round, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return "", nil, err
	}
	url := kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod.Name).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: round}, http.MethodPost, url)
	stopping, ready, failed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	f, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(port)}, stopping, ready, io.Discard, io.Discard)
	if err != nil {
		return "", nil, err
	}
	var running sync.WaitGroup
	running.Go(func() { failed <- f.ForwardPorts() })
	stop = func() {
		close(stopping)
		running.Wait()
	}
	select {
	case <-ready:
	case err := <-failed:
		return "", nil, errors.Join(fmt.Errorf("reach port %d of pod %s/%s through the API server", port, namespace, pod.Name), err)
	case <-ctx.Done():
		stop()
		return "", nil, ctx.Err()
	}
	local, err := f.GetPorts()
	if err != nil || len(local) == 0 {
		stop()
		return "", nil, errors.Join(errors.New("no port was opened"), err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(local[0].Local))), stop, nil
}
