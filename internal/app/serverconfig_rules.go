package app

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mangru/mangru/internal/server/alerts"
	"github.com/mangru/mangru/internal/server/logs"
	"github.com/mangru/mangru/internal/server/rules"
)

// ServerRules bounds the rules of a workspace and says how they are evaluated.
// Zero values take the defaults of the parts.
type ServerRules struct {
	MaxNamespaces   int      `yaml:"max_namespaces"`
	MaxRules        int      `yaml:"max_rules"`
	MaxBytes        Size     `yaml:"max_bytes"`
	MinInterval     Duration `yaml:"min_interval"`
	Interval        Duration `yaml:"interval"`
	MaxConcurrent   int      `yaml:"max_concurrent"`
	MaxPerWorkspace int      `yaml:"max_per_workspace"`
	ResendDelay     Duration `yaml:"resend_delay"`
	OutageTolerance Duration `yaml:"outage_tolerance"`
	ForGracePeriod  Duration `yaml:"for_grace_period"`
}

func (r *ServerRules) validate() error {
	return notNegative("rules.", map[string]int64{
		"max_namespaces": int64(r.MaxNamespaces), "max_rules": int64(r.MaxRules), "max_bytes": int64(r.MaxBytes),
		"min_interval": int64(r.MinInterval), "interval": int64(r.Interval), "max_concurrent": int64(r.MaxConcurrent),
		"max_per_workspace": int64(r.MaxPerWorkspace), "resend_delay": int64(r.ResendDelay),
		"outage_tolerance": int64(r.OutageTolerance), "for_grace_period": int64(r.ForGracePeriod)})
}

func (r *ServerRules) records() rules.RecordsConfig {
	return rules.RecordsConfig{MaxNamespaces: r.MaxNamespaces, MaxRules: r.MaxRules, MaxBytes: int(r.MaxBytes),
		MinInterval: time.Duration(r.MinInterval)}
}

func notNegative(prefix string, values map[string]int64) error {
	for _, name := range sortedKeys(values) {
		if values[name] < 0 {
			return &fieldError{prefix + name, "must not be negative"}
		}
	}
	return nil
}

// ServerAlerts bounds the alert managers, and says where their notifications may
// go to besides public addresses: definitions are tenants' to write.
type ServerAlerts struct {
	AllowPrivate    bool      `yaml:"allow_private"`
	AllowNetworks   []string  `yaml:"allow_networks"`
	MaxBytes        Size      `yaml:"max_bytes"`
	MaxAlerts       int       `yaml:"max_alerts"`
	MaxGroups       int       `yaml:"max_groups"`
	MaxSilences     int       `yaml:"max_silences"`
	MaxSilenceBytes Size      `yaml:"max_silence_bytes"`
	Retention       Duration  `yaml:"retention"`
	SNS             ServerSNS `yaml:"sns"`
}

// ServerSNS says what becomes of notifications to topics of SNS whose receiver
// names no credentials, as in definitions for Managed Prometheus.
type ServerSNS struct {
	// HTTP is posted to as SNS delivers to subscribers.
	HTTP string `yaml:"http"`
	// Endpoint speaks SNS' own protocol; "aws" is Amazon's. Requests are signed
	// with the credentials that AWS' tools would find in the environment.
	Endpoint string `yaml:"endpoint"`
	Region   string `yaml:"region"`
}

func (a *ServerAlerts) validate() error {
	if _, err := a.networks(); err != nil {
		return err
	}
	for _, f := range []struct{ name, value string }{{"alerts.sns.http", a.SNS.HTTP}, {"alerts.sns.endpoint", a.SNS.Endpoint}} {
		if f.value == "" || f.name == "alerts.sns.endpoint" && f.value == realAWS {
			continue
		}
		if u, err := url.Parse(f.value); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return &fieldError{f.name, "is not a URL such as https://notify.example/sns, without a user"}
		}
	}
	if a.SNS.HTTP != "" && a.SNS.Endpoint != "" {
		return &fieldError{"alerts.sns", "http and endpoint exclude each other"}
	}
	return notNegative("alerts.", map[string]int64{"max_bytes": int64(a.MaxBytes), "max_silence_bytes": int64(a.MaxSilenceBytes), "retention": int64(a.Retention)})
}

func (a *ServerAlerts) networks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, text := range a.AllowNetworks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, &fieldError{fmt.Sprintf("alerts.allow_networks[%d]", i), fmt.Sprintf("%q is no network such as 10.0.0.0/8", text)}
		}
		out = append(out, p)
	}
	return out, nil
}

// config returns what the Manager of alerts is told of these settings.
func (a *ServerAlerts) config(ctx context.Context) (alerts.Config, error) {
	networks, err := a.networks()
	if err != nil {
		return alerts.Config{}, err
	}
	c := alerts.Config{Egress: alerts.Egress{AllowPrivate: a.AllowPrivate, Allow: networks},
		MaxAlerts: a.MaxAlerts, MaxGroups: a.MaxGroups, MaxSilences: a.MaxSilences, MaxSilenceBytes: int(a.MaxSilenceBytes),
		Retention: time.Duration(a.Retention), SNS: alerts.SNS{HTTP: a.SNS.HTTP, Region: a.SNS.Region}}
	if a.SNS.Endpoint == "" {
		return c, nil
	}
	if a.SNS.Endpoint != realAWS {
		c.SNS.Endpoint = strings.TrimSuffix(a.SNS.Endpoint, "/")
	}
	aws, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return c, fmt.Errorf("alerts.sns: credentials: %w", err)
	}
	c.SNS.Credentials = aws.Credentials
	return c, nil
}

// ServerLogs says where logs of workspaces go: files below the data directory
// for log groups, and URLs of these origins.
type ServerLogs struct {
	MaxSize  Size     `yaml:"max_size"`
	MaxFiles int      `yaml:"max_files"`
	URLs     []string `yaml:"urls"`
}

func (l *ServerLogs) validate() error {
	for i, origin := range l.URLs {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			return &fieldError{fmt.Sprintf("logs.urls[%d]", i), fmt.Sprintf("%q is not the origin of URLs, such as https://logs.example:8443", origin)}
		}
	}
	return nil
}

func (l *ServerLogs) config(dir string, reg prometheus.Registerer) logs.Config {
	return logs.Config{Dir: dir, Registerer: reg, MaxSize: int64(l.MaxSize), MaxFiles: l.MaxFiles}
}
