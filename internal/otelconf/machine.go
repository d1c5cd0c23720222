package otelconf

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// MachineOptions describe the node exporter of one machine.
type MachineOptions struct {
	// Address is the exporter's HOST:PORT.
	Address string
	// Interval between scrapes; 0 means DefaultScrapeInterval.
	Interval time.Duration
	// Instance is the value of the instance label, as a rule the host name;
	// empty leaves the address there.
	Instance string
}

// Machine returns a configuration that scrapes one node exporter under the job
// name that dashboards expect, and no endpoints; AddEndpoint adds them.
func Machine(o MachineOptions) (*Config, error) {
	if o.Address == "" {
		return nil, fmt.Errorf("the address of the node exporter is empty")
	}
	if o.Interval <= 0 {
		o.Interval = DefaultScrapeInterval
	}
	c := New()
	c.Form = "built-in job for this machine"
	c.Global.ScrapeInterval = model.Duration(o.Interval)
	c.Global.ScrapeTimeout = model.Duration(min(10*time.Second, o.Interval))
	if err := c.AddStaticJob("node-exporter", o.Address, o.Instance); err != nil {
		return nil, err
	}
	return c, nil
}

// AddStaticJob adds a job with one target at HOST:PORT, scraped as Global says. An
// empty instance leaves the address as the instance label.
func (c *Config) AddStaticJob(name, address, instance string) error {
	sc := config.DefaultScrapeConfig
	sc.JobName = name
	group := &targetgroup.Group{Source: "0", Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(address)}}}
	if instance != "" {
		group.Labels = model.LabelSet{model.InstanceLabel: model.LabelValue(instance)}
	}
	sc.ServiceDiscoveryConfigs = discovery.Configs{discovery.StaticConfig{group}}
	if err := sc.Validate(c.Global); err != nil {
		return fmt.Errorf("built-in job %q: %w", sc.JobName, err)
	}
	c.ScrapeConfigs = append(c.ScrapeConfigs, &sc)
	c.addJobRoutes(name)
	return nil
}
