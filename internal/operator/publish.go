package operator

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// publisher keeps the webhooks' certificate good, and tells the API server whom
// to trust. The Secret is the truth: replicas agree by its resource version.
type publisher struct {
	client client.Client
	log    *slog.Logger
	now    func() time.Time

	secret     client.ObjectKey
	names      []string // of the Service
	mutating   string
	validating string
	definition string

	served atomic.Pointer[tls.Certificate]
	ready  atomic.Bool // the API server trusts what is served
}

// checkEvery is how often certificates and configurations are looked at.
const checkEvery = 30 * time.Second

// certificate is tls.Config.GetCertificate.
func (p *publisher) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := p.served.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("no certificate yet")
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica serves.
func (p *publisher) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (p *publisher) Start(ctx context.Context) error {
	for {
		wait := checkEvery
		if err := p.once(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("the certificate of the webhooks is not in order", "err", err)
			wait = 2 * time.Second
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (p *publisher) once(ctx context.Context) error {
	k, err := p.keyring(ctx)
	if err != nil {
		return err
	}
	pair, err := k.pair()
	if err != nil {
		return err
	}
	if before := p.served.Swap(pair); before == nil || !bytes.Equal(before.Certificate[0], pair.Certificate[0]) {
		served := certificates(k.serving)
		p.log.Info("serving a certificate", "until", served[0].NotAfter.UTC(), "authorities", len(certificates(k.bundle)))
	}
	if err := p.publish(ctx, k.bundle); err != nil {
		return err
	}
	p.ready.Store(true)
	return nil
}

// keyring reads the Secret, and renews it where it is due. When another replica
// was faster, its result counts.
func (p *publisher) keyring(ctx context.Context) (keyring, error) {
	for range 5 {
		s := &corev1.Secret{}
		err := p.client.Get(ctx, p.secret, s)
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return keyring{}, err
		}
		k, changed, err := keyringFrom(s.Data).renew(p.names, p.now())
		if err != nil || !changed {
			return k, err
		}
		s.Data, s.Type = k.data(), corev1.SecretTypeOpaque
		if missing {
			s.Name, s.Namespace = p.secret.Name, p.secret.Namespace
			s.Labels = map[string]string{"app.kubernetes.io/part-of": "mangru"}
			err = p.client.Create(ctx, s)
		} else {
			err = p.client.Update(ctx, s)
		}
		if err == nil {
			return k, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return k, fmt.Errorf("keep the certificate in Secret %s: %w", p.secret, err)
		}
	}
	return keyring{}, errors.New("the Secret of the certificate changes all the time")
}

// publish puts the bundle where the API server looks for it.
func (p *publisher) publish(ctx context.Context, bundle []byte) error {
	m := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := p.client.Get(ctx, client.ObjectKey{Name: p.mutating}, m); err != nil {
		return err
	}
	before, differs := m.DeepCopy(), false
	for i := range m.Webhooks {
		differs = set(&m.Webhooks[i].ClientConfig.CABundle, bundle) || differs
	}
	if differs {
		if err := p.client.Patch(ctx, m, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return err
		}
	}
	v := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := p.client.Get(ctx, client.ObjectKey{Name: p.validating}, v); err != nil {
		return err
	}
	beforeV, differs := v.DeepCopy(), false
	for i := range v.Webhooks {
		differs = set(&v.Webhooks[i].ClientConfig.CABundle, bundle) || differs
	}
	if differs {
		if err := p.client.Patch(ctx, v, client.MergeFromWithOptions(beforeV, client.MergeFromWithOptimisticLock{})); err != nil {
			return err
		}
	}
	d := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: p.definition}}
	if err := p.client.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
		return err
	}
	if d.Spec.Conversion == nil || d.Spec.Conversion.Webhook == nil || d.Spec.Conversion.Webhook.ClientConfig == nil {
		return fmt.Errorf("CustomResourceDefinition %s names no conversion webhook", p.definition)
	}
	beforeD := d.DeepCopy()
	if set(&d.Spec.Conversion.Webhook.ClientConfig.CABundle, bundle) {
		return p.client.Patch(ctx, d, client.MergeFromWithOptions(beforeD, client.MergeFromWithOptimisticLock{}))
	}
	return nil
}

func set(field *[]byte, value []byte) bool {
	if bytes.Equal(*field, value) {
		return false
	}
	*field = value
	return true
}
