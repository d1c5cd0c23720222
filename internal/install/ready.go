package install

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Wait returns when every workload of the release is ready. When ctx ends first
// the error says which one is not, and why, as far as its pods and events tell.
func (c *Cluster) Wait(ctx context.Context, r *Rendered) error {
	began := time.Now()
	for _, o := range r.Objects {
		ref := refOf(o)
		if !slices.Contains([]string{"Deployment", "DaemonSet", "StatefulSet", "Job"}, ref.Kind) {
			continue
		}
		err := c.poll(ctx, func() (string, error) {
			now, err := c.get(ctx, ref)
			if err != nil {
				return "", err
			}
			return notReady(now)
		})
		if err != nil {
			return fmt.Errorf("%s is not ready: %w%s", ref, err, c.why(ctx, ref))
		}
		c.Progress("%s ready after %s", ref, time.Since(began).Round(time.Second))
	}
	return nil
}

// notReady says what a workload still lacks.
func notReady(o *unstructured.Unstructured) (string, error) {
	convert := func(into any) error { return runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into) }
	switch o.GetKind() {
	case "Deployment":
		var d appsv1.Deployment
		if err := convert(&d); err != nil {
			return "", err
		}
		want := int32(1)
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		return short(d.Generation, d.Status.ObservedGeneration, want, d.Status.UpdatedReplicas, d.Status.AvailableReplicas), nil
	case "DaemonSet":
		var d appsv1.DaemonSet
		if err := convert(&d); err != nil {
			return "", err
		}
		return short(d.Generation, d.Status.ObservedGeneration, d.Status.DesiredNumberScheduled, d.Status.UpdatedNumberScheduled, d.Status.NumberAvailable), nil
	case "StatefulSet":
		var s appsv1.StatefulSet
		if err := convert(&s); err != nil {
			return "", err
		}
		want := int32(1)
		if s.Spec.Replicas != nil {
			want = *s.Spec.Replicas
		}
		return short(s.Generation, s.Status.ObservedGeneration, want, s.Status.UpdatedReplicas, s.Status.AvailableReplicas), nil
	case "Job":
		var j batchv1.Job
		if err := convert(&j); err != nil {
			return "", err
		}
		for _, cond := range j.Status.Conditions {
			if cond.Status != corev1.ConditionTrue {
				continue
			}
			switch cond.Type {
			case batchv1.JobComplete:
				return "", nil
			case batchv1.JobFailed:
				return "", fmt.Errorf("the job failed: %s", cond.Message)
			}
		}
		return "the job runs", nil
	}
	return "", nil
}

func short(generation, observed int64, want, updated, available int32) string {
	switch {
	case observed < generation:
		return "its controller has not seen it yet"
	case updated < want:
		return fmt.Sprintf("%d of %d pods are of this version", updated, want)
	case available < want:
		return fmt.Sprintf("%d of %d pods are available", available, want)
	}
	return ""
}

// why looks for the reason at a workload's pods and events. ctx is over by
// then, so it has a moment of its own.
func (c *Cluster) why(ctx context.Context, ref Ref) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	o, err := c.get(ctx, ref)
	if err != nil {
		return ""
	}
	labels, _, _ := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
	var reasons []string
	pods, err := c.kube.CoreV1().Pods(ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})})
	if err == nil {
		for i := range pods.Items {
			reasons = append(reasons, PodTrouble(&pods.Items[i])...)
		}
	}
	events, err := c.kube.CoreV1().Events(ref.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning"})
	if err == nil {
		for _, e := range events.Items {
			if strings.HasPrefix(e.InvolvedObject.Name, ref.Name) {
				reasons = append(reasons, fmt.Sprintf("%s %s: %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
			}
		}
	}
	slices.Sort(reasons)
	reasons = slices.Compact(reasons)
	var out strings.Builder
	for _, r := range reasons[:min(len(reasons), 12)] {
		out.WriteString("\n  " + r)
	}
	return out.String()
}

// PodTrouble says in sentences what keeps a pod from being ready; nothing where
// it is.
func PodTrouble(p *corev1.Pod) (out []string) {
	say := func(format string, args ...any) {
		out = append(out, "pod "+p.Name+": "+fmt.Sprintf(format, args...))
	}
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodScheduled && cond.Status == corev1.ConditionFalse {
			say("no node takes it: %s", cond.Message)
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "ContainerCreating" && s.State.Waiting.Reason != "PodInitializing":
			say("container %s waits: %s: %s", s.Name, s.State.Waiting.Reason, s.State.Waiting.Message)
		case s.State.Running != nil && !s.Ready && s.Started != nil && *s.Started:
			say("container %s runs and is not ready", s.Name)
		}
		if t := s.LastTerminationState.Terminated; t != nil && t.ExitCode != 0 && !s.Ready {
			say("container %s ended with exit code %d (%s) at %s: %s", s.Name, t.ExitCode, t.Reason, t.FinishedAt.UTC().Format(time.RFC3339), strings.TrimSpace(t.Message))
		}
	}
	return out
}
