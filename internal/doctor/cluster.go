package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Cluster is the part of the path inside Kubernetes.
type Cluster struct {
	Kube kubernetes.Interface
	// Namespace is where collectors are looked for; empty means everywhere.
	Namespace string
	// Trouble says in sentences what keeps a pod from being ready.
	Trouble func(*corev1.Pod) []string
}

// ours selects the pods of collectors, whoever made them.
var ours = []string{"app.kubernetes.io/component in (collector, opentelemetry-collector)", "app.kubernetes.io/name in (mangru-server, mangru-operator)"}

// Check looks at pods, rights and the collectors' own state.
func (c Cluster) Check(ctx context.Context, r *Report) {
	version, err := c.Kube.Discovery().ServerVersion()
	if err != nil {
		r.add("cluster", "API server", Failure, "Check the kubeconfig: kubectl version", "it does not answer: %v", err)
		return
	}
	r.ok("cluster", "API server", "Kubernetes %s", version.GitVersion)
	var pods []corev1.Pod
	for _, selector := range ours {
		list, err := c.Kube.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			r.add("cluster", "pods", Failure, "Let this user list pods.", "%v", err)
			return
		}
		pods = append(pods, list.Items...)
	}
	if len(pods) == 0 {
		r.add("cluster", "pods", Failure, "mangru install --preset all-in-one", "no collector, server or operator runs in %s", place(c.Namespace))
		return
	}
	c.pods(r, pods)
	for i := range pods {
		if p := &pods[i]; isCollector(p) && ready(p) {
			c.rights(ctx, r, p)
			c.collector(ctx, r, p)
			c.identity(ctx, r, p)
		}
	}
	c.sources(ctx, r)
}

func place(namespace string) string {
	if namespace == "" {
		return "any namespace"
	}
	return "namespace " + namespace
}

func isCollector(p *corev1.Pod) bool {
	return slices.Contains([]string{"collector", "opentelemetry-collector"}, p.Labels["app.kubernetes.io/component"])
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (c Cluster) pods(r *Report, pods []corev1.Pod) {
	good, restarts := 0, []string{}
	for i := range pods {
		p := &pods[i]
		if ready(p) {
			good++
		} else {
			trouble := c.Trouble(p)
			if len(trouble) == 0 {
				trouble = []string{"phase " + string(p.Status.Phase)}
			}
			r.add("cluster", "pod "+p.Namespace+"/"+p.Name, Failure, fmt.Sprintf("kubectl -n %s describe pod %s", p.Namespace, p.Name), "%s", strings.Join(trouble, "\n"))
		}
		for _, s := range p.Status.ContainerStatuses {
			if t := s.LastTerminationState.Terminated; t != nil && time.Since(t.FinishedAt.Time) < time.Hour {
				restarts = append(restarts, fmt.Sprintf("%s/%s restarted %d times, last with code %d (%s)", p.Namespace, p.Name, s.RestartCount, t.ExitCode, t.Reason))
			}
		}
	}
	if good > 0 {
		r.ok("cluster", "pods", "%d of %d collectors, servers and operators are ready", good, len(pods))
	}
	if len(restarts) > 0 {
		r.add("cluster", "restarts", Warning, "Look at the log before: kubectl logs --previous", "%s", strings.Join(restarts, "\n"))
	}
}

// right is something that discovery or a scrape needs.
type right struct {
	verb, group, resource, sub string
	// or names another right that will do.
	or *right
}

func (n right) String() string {
	s := n.verb + " " + n.resource
	if n.sub != "" {
		s += "/" + n.sub
	}
	if n.group != "" {
		s += "." + n.group
	}
	return s
}

var needed = []right{
	{verb: "list", resource: "nodes"}, {verb: "watch", resource: "nodes"}, {verb: "list", resource: "pods"}, {verb: "watch", resource: "pods"},
	{verb: "list", resource: "services"}, {verb: "list", group: "discovery.k8s.io", resource: "endpointslices", or: &right{verb: "list", resource: "endpoints"}},
	{verb: "get", resource: "nodes", sub: "metrics", or: &right{verb: "get", resource: "nodes", sub: "proxy"}},
}

// rights asks the API server what the collector's service account may do.
func (c Cluster) rights(ctx context.Context, r *Report, p *corev1.Pod) {
	who := "system:serviceaccount:" + p.Namespace + ":" + p.Spec.ServiceAccountName
	may := func(n right) (bool, error) {
		review, err := c.Kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: who, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + p.Namespace, "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: n.verb, Group: n.group, Resource: n.resource, Subresource: n.sub},
		}}, metav1.CreateOptions{})
		if err != nil {
			return false, err
		}
		return review.Status.Allowed, nil
	}
	var missing []string
	for _, n := range needed {
		ok, err := may(n)
		if err == nil && !ok && n.or != nil {
			ok, err = may(*n.or)
		}
		if err != nil {
			r.add("rights", p.Spec.ServiceAccountName, Skipped, "", "this user may not ask what others may: %v", err)
			return
		}
		if !ok {
			missing = append(missing, n.String())
		}
	}
	if len(missing) > 0 {
		r.add("rights", p.Namespace+"/"+p.Spec.ServiceAccountName, Failure,
			"Give the service account a ClusterRole with these rights; docs/rbac.md has one to copy.", "may not: %s", strings.Join(missing, ", "))
		return
	}
	r.ok("rights", p.Namespace+"/"+p.Spec.ServiceAccountName, "may see nodes, pods, services and endpoints, and read nodes' metrics")
}

// identity looks at how the pod gets credentials.
func (c Cluster) identity(ctx context.Context, r *Report, p *corev1.Pod) {
	name := p.Namespace + "/" + p.Name
	env := map[string]string{}
	for _, k := range p.Spec.Containers {
		for _, e := range k.Env {
			env[e.Name] = e.Value
		}
	}
	switch {
	case env["AWS_ROLE_ARN"] != "":
		r.ok("identity", name, "acts as %s by its service account's token", env["AWS_ROLE_ARN"])
	case env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] != "":
		r.ok("identity", name, "gets credentials from the Pod Identity agent")
	default:
		account, err := c.Kube.CoreV1().ServiceAccounts(p.Namespace).Get(ctx, p.Spec.ServiceAccountName, metav1.GetOptions{})
		if err != nil {
			r.add("identity", name, Skipped, "", "%v", err)
			return
		}
		if role := account.Annotations["eks.amazonaws.com/role-arn"]; role != "" {
			r.add("identity", name, Failure, fmt.Sprintf("The pod is older than the annotation, or no webhook gave it credentials: kubectl -n %s delete pod %s", p.Namespace, p.Name),
				"service account %s names role %s, and the pod has no token for it", account.Name, role)
			return
		}
		r.add("identity", name, Skipped, "", "neither the pod nor its service account names a role")
	}
}

// state is what a collector tells about itself.
type state struct {
	Jobs []struct {
		Job     string `json:"job"`
		Targets []struct {
			URL       string `json:"url"`
			Health    string `json:"health"`
			LastError string `json:"lastError"`
		} `json:"targets"`
	} `json:"jobs"`
	Duplicates []struct {
		URL     string   `json:"url"`
		Jobs    []string `json:"jobs"`
		Dropped bool     `json:"onlyFirst"`
	} `json:"duplicates"`
	Problems map[string]string `json:"problems"`
}

type queueState struct {
	Queue struct {
		Bytes     int64 `json:"bytes"`
		MaxBytes  int64 `json:"maxBytes"`
		Endpoints []struct {
			Name    string `json:"name"`
			Samples int64  `json:"samples"`
		} `json:"endpoints"`
	} `json:"queue"`
	Senders []struct {
		Name        string    `json:"name"`
		LastSuccess time.Time `json:"lastSuccess"`
		LastError   string    `json:"lastError"`
		Failures    int       `json:"failuresInARow"`
		Sent        uint64    `json:"sentSamples"`
		Refused     uint64    `json:"refusedSamples"`
	} `json:"senders"`
}

// collector asks the collector in a pod for its targets and its queue.
func (c Cluster) collector(ctx context.Context, r *Report, p *corev1.Pod) {
	name := p.Namespace + "/" + p.Name
	var s state
	if err := c.ask(ctx, p, "targets", &s); err != nil {
		r.add("collector", name, Skipped, "", "its state cannot be read; only our collector shows it, and this user needs get on pods/proxy: %v", err)
		return
	}
	for job, problem := range s.Problems {
		r.add("discovery", job, Failure, "Look at the log of "+name+" and at the job's discovery.", "%s", problem)
	}
	up, down, waiting := 0, map[string][]string{}, 0
	for _, j := range s.Jobs {
		for _, t := range j.Targets {
			switch t.Health {
			case "up":
				up++
			case "down":
				down[j.Job] = append(down[j.Job], t.URL+": "+t.LastError)
			default:
				waiting++
			}
		}
	}
	if up+waiting+len(down) == 0 {
		r.add("targets", name, Warning, "Where it shares targets with others it may have none; else look at its jobs' relabelling: kubectl -n "+p.Namespace+" port-forward "+p.Name+" 8888, then /targets", "it scrapes nothing")
	} else {
		r.ok("targets", name, "%d targets in %d jobs are up, %d not scraped yet", up, len(s.Jobs), waiting)
	}
	for job, list := range down {
		r.add("targets", "job "+job, Failure, "Reach the target from the pod's network, or leave it out by relabelling.", "%d targets are down:\n%s", len(list), strings.Join(list[:min(len(list), 5)], "\n"))
	}
	duplicates(r, &s)
	c.queue(ctx, r, p)
}

func duplicates(r *Report, s *state) {
	var counted, dropped []string
	for _, d := range s.Duplicates {
		line := d.URL + " by " + strings.Join(d.Jobs, ", ")
		if d.Dropped {
			dropped = append(dropped, line)
			continue
		}
		counted = append(counted, line)
	}
	switch {
	case len(counted) > 0:
		r.add("targets", "scraped twice", Warning,
			"Remove the second job or the annotation prometheus.io/scrape of these Services, or start the collector with --dedupe first-job-wins.\nUntil then sums and counts over these targets come out too high.",
			"%d targets are scraped by several jobs:\n%s", len(counted), strings.Join(counted[:min(len(counted), 8)], "\n"))
	case len(dropped) > 0:
		r.ok("targets", "scraped twice", "%d targets belong to several jobs and are scraped once (first job wins)", len(dropped))
	default:
		r.ok("targets", "scraped twice", "no target is scraped by two jobs")
	}
}

// queue looks at what waits and at how sending goes.
func (c Cluster) queue(ctx context.Context, r *Report, p *corev1.Pod) {
	var q queueState
	if err := c.ask(ctx, p, "queue", &q); err != nil {
		r.add("sending", p.Name, Skipped, "", "%v", err)
		return
	}
	for _, e := range q.Queue.Endpoints {
		full := float64(q.Queue.Bytes) / float64(max(q.Queue.MaxBytes, 1))
		if full > 0.5 {
			r.add("sending", "queue to "+e.Name, Warning, "The endpoint is slower than what is collected, or was away: see the sender's error.", "%d samples wait; the queue is %.0f %% full", e.Samples, 100*full)
		}
	}
	for _, s := range q.Senders {
		switch {
		case s.Failures > 0:
			r.add("sending", "to "+s.Name, Failure, Advice(s.LastError), "%d requests failed in a row: %s", s.Failures, s.LastError)
		case s.Sent == 0:
			r.add("sending", "to "+s.Name, Warning, "", "nothing has been sent yet")
		case s.Refused > 0:
			r.add("sending", "to "+s.Name, Warning, Advice(s.LastError), "%d samples sent, %d refused; last: %s", s.Sent, s.Refused, s.LastError)
		default:
			r.ok("sending", "to "+s.Name, "%d samples sent, the last %s ago", s.Sent, time.Since(s.LastSuccess).Round(time.Second))
		}
	}
}

// Advice knows what an endpoint's refusal is about.
func Advice(text string) string {
	lower := strings.ToLower(text)
	for _, a := range []struct {
		any []string
		fix string
	}{
		{[]string{"no oidc", "no openidconnect", "invalididentitytoken"}, "Register the cluster, so that its tokens are known: mangru cluster register NAME"},
		{[]string{"assumerolewithwebidentity", "not authorized to perform sts"}, "The role does not trust this service account: mangru irsa list, then mangru irsa create --namespace N --service-account S --policy AmazonPrometheusRemoteWriteAccess"},
		{[]string{"no aws credentials", "failed to refresh cached credentials", "get credentials"}, "Give the service account a role (mangru irsa create), and make the pod anew."},
		{[]string{"signature expired", "signature not yet current", "requesttimeskewed"}, "The clocks differ: set the node's time by NTP."},
		{[]string{"signaturedoesnotmatch", "signature we calculated"}, "The secret key, region or path is another than the server's; check --region and what stands between (a proxy must pass Host on)."},
		{[]string{"not authorized to perform: aps", "accessdenied", "403"}, "Attach AmazonPrometheusRemoteWriteAccess to the role: mangru role attach ROLE AmazonPrometheusRemoteWriteAccess; mangru role explain says what denies."},
		{[]string{"429", "rate limit", "throttl"}, "A limit of the workspace is reached; it names its setting. Raise it, or send less."},
		{[]string{"out of order", "too old", "out of bounds"}, "Two collectors write the same series: give them different external labels, or stop one."},
		{[]string{"connection refused", "no such host", "timeout", "deadline"}, "The endpoint cannot be reached from the pod: check its URL, Service and network policies."},
		{[]string{"404", "not found"}, "There is no such workspace: check the URL."},
	} {
		if slices.ContainsFunc(a.any, func(s string) bool { return strings.Contains(lower, s) }) {
			return a.fix
		}
	}
	return "See the collector's log."
}

// ask fetches a page of the collector through the API server.
func (c Cluster) ask(ctx context.Context, p *corev1.Pod, path string, into any) error {
	port := "8888"
	for _, k := range p.Spec.Containers {
		for _, q := range k.Ports {
			if q.Name == "metrics" {
				port = fmt.Sprint(q.ContainerPort)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	text, err := c.Kube.CoreV1().Pods(p.Namespace).ProxyGet("http", p.Name, port, path, nil).DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// sources are the exporters that boards build on; each should be there once.
func (c Cluster) sources(ctx context.Context, r *Report) {
	for _, name := range []string{"kube-state-metrics", "prometheus-node-exporter"} {
		list, err := c.Kube.CoreV1().Services("").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + name})
		if err != nil {
			r.add("sources", name, Skipped, "", "%v", err)
			continue
		}
		var found []string
		for i := range list.Items {
			found = append(found, list.Items[i].Namespace+"/"+list.Items[i].Name)
		}
		switch len(found) {
		case 0:
			r.add("sources", name, Failure, "mangru install brings it.", "the cluster has none, so boards about objects or nodes stay empty")
		case 1:
			r.ok("sources", name, "Service %s", found[0])
		default:
			r.add("sources", name, Warning, "Remove all but one: each counts every object again.", "there are %d: %s", len(found), strings.Join(found, ", "))
		}
	}
}
