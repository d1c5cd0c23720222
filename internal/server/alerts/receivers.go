package alerts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/email"
	"github.com/prometheus/alertmanager/template"
	commoncfg "github.com/prometheus/common/config"
)

// receivers makes what sends notifications. All of it goes out through egress.
type receivers struct {
	egress Egress
	sns    SNS
	dial   commoncfg.DialContextFunc // nil means egress' own
	logger *slog.Logger
	mails  chan struct{} // bounds mails that are being sent
}

// httpOptions are those of all receivers that speak HTTP. Connections are not
// kept: notifications are rare, and receivers come and go.
func (b *receivers) httpOptions() []commoncfg.HTTPClientOption {
	dial := b.dial
	if dial == nil {
		dial = b.egress.dial
	}
	return []commoncfg.HTTPClientOption{commoncfg.WithDialContextFunc(dial), commoncfg.WithKeepAlivesDisabled()}
}

// build makes the integrations of every receiver that a route leads to.
func (b *receivers) build(c *config.Config, tmpl *template.Template) (map[string][]notify.Integration, error) {
	used := make(map[string]bool)
	dispatch.NewRoute(c.Route, nil).Walk(func(r *dispatch.Route) { used[r.RouteOpts.Receiver] = true })
	out := make(map[string][]notify.Integration, len(used))
	for i := range c.Receivers {
		rcv := c.Receivers[i]
		if !used[rcv.Name] {
			continue
		}
		mails, topics := rcv.EmailConfigs, rcv.SNSConfigs
		rcv.EmailConfigs, rcv.SNSConfigs = nil, nil
		list, err := receiver.BuildReceiverIntegrations(rcv, tmpl, b.logger, b.httpOptions()...)
		if err != nil {
			return nil, fmt.Errorf("receiver %q: %w", rcv.Name, err)
		}
		for n, m := range mails {
			list = append(list, notify.NewIntegration(b.newMail(m, tmpl), m, "email", n, rcv.Name))
		}
		for n, s := range topics {
			notifier, err := b.newSNS(s, tmpl)
			if err != nil {
				return nil, fmt.Errorf("receiver %q: %w", rcv.Name, err)
			}
			list = append(list, notify.NewIntegration(notifier, s, "sns", n, rcv.Name))
		}
		out[rcv.Name] = list
	}
	return out, nil
}

// mail sends mails by way of an address that is allowed.
type mail struct {
	b    *receivers
	conf *config.EmailConfig
	tmpl *template.Template
}

func (b *receivers) newMail(c *config.EmailConfig, tmpl *template.Template) *mail {
	own := *c
	own.Headers = make(map[string]string, len(c.Headers))
	for k, v := range c.Headers {
		own.Headers[k] = v
	}
	email.New(&own, tmpl, b.logger) // it fills in headers, here and not at every mail
	return &mail{b: b, conf: &own, tmpl: tmpl}
}

// maxMails is how many mails of a workspace may be on their way.
const maxMails = 16

// Notify implements notify.Notifier. The conversation with the mail server does
// not end with ctx, so it may go on after this has returned; how many do is
// bounded.
func (m *mail) Notify(ctx context.Context, as ...*alert.Alert) (bool, error) {
	addr, err := m.b.egress.resolve(ctx, m.conf.Smarthost.Host)
	if err != nil {
		var forbidden *forbiddenError
		return !errors.As(err, &forbidden), fmt.Errorf("mail server %s: %w", net.JoinHostPort(m.conf.Smarthost.Host, m.conf.Smarthost.Port), err)
	}
	// From here on the address is the host, so that it is not looked up again; the
	// certificate is still that of the name.
	c := *m.conf
	tls := commoncfg.TLSConfig{}
	if c.TLSConfig != nil {
		tls = *c.TLSConfig
	}
	if tls.ServerName == "" {
		tls.ServerName = c.Smarthost.Host
	}
	c.TLSConfig, c.Smarthost.Host = &tls, addr.String()

	type result struct {
		retry bool
		err   error
	}
	select {
	case m.b.mails <- struct{}{}:
	default:
		return true, fmt.Errorf("%d mails are on their way, more are not sent meanwhile", cap(m.b.mails))
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-m.b.mails }()
		retry, err := email.New(&c, m.tmpl, m.b.logger).Notify(ctx, slices.Clone(as)...)
		done <- result{retry, err}
	}()
	select {
	case r := <-done:
		return r.retry, r.err
	case <-ctx.Done():
		return true, fmt.Errorf("mail server %s: %w", net.JoinHostPort(m.conf.Smarthost.Host, m.conf.Smarthost.Port), ctx.Err())
	}
}
