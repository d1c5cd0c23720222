package otelconf

import (
	"reflect"

	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/eureka"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/gce"
	promhttp "github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/marathon"
	"github.com/prometheus/prometheus/discovery/puppetdb"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/discovery/triton"
)

// discoveryFields are what service discoveries add to a scrape configuration, for
// error texts. Prometheus' registry cannot be listed, so they are named here. Those
// imported here are registered by that; the others, whose packages bring a cloud's
// whole SDK each, are registered by the program, which imports all of them.
var discoveryFields = map[string]reflect.Type{
	"static_configs":        reflect.TypeFor[staticGroup](),
	"dns_sd_configs":        reflect.TypeFor[dns.SDConfig](),
	"eureka_sd_configs":     reflect.TypeFor[eureka.SDConfig](),
	"file_sd_configs":       reflect.TypeFor[file.SDConfig](),
	"gce_sd_configs":        reflect.TypeFor[gce.SDConfig](),
	"http_sd_configs":       reflect.TypeFor[promhttp.SDConfig](),
	"kubernetes_sd_configs": reflect.TypeFor[kubernetes.SDConfig](),
	"marathon_sd_configs":   reflect.TypeFor[marathon.SDConfig](),
	"puppetdb_sd_configs":   reflect.TypeFor[puppetdb.SDConfig](),
	"triton_sd_configs":     reflect.TypeFor[triton.SDConfig](),

	"aws_sd_configs":          otherDiscovery,
	"azure_sd_configs":        otherDiscovery,
	"consul_sd_configs":       otherDiscovery,
	"digitalocean_sd_configs": otherDiscovery,
	"docker_sd_configs":       otherDiscovery,
	"dockerswarm_sd_configs":  otherDiscovery,
	"ec2_sd_configs":          otherDiscovery,
	"ecs_sd_configs":          otherDiscovery,
	"elasticache_sd_configs":  otherDiscovery,
	"hetzner_sd_configs":      otherDiscovery,
	"ionos_sd_configs":        otherDiscovery,
	"kuma_sd_configs":         otherDiscovery,
	"lightsail_sd_configs":    otherDiscovery,
	"linode_sd_configs":       otherDiscovery,
	"msk_sd_configs":          otherDiscovery,
	"nerve_sd_configs":        otherDiscovery,
	"nomad_sd_configs":        otherDiscovery,
	"oci_sd_configs":          otherDiscovery,
	"openstack_sd_configs":    otherDiscovery,
	"outscale_sd_configs":     otherDiscovery,
	"ovhcloud_sd_configs":     otherDiscovery,
	"rds_sd_configs":          otherDiscovery,
	"scaleway_sd_configs":     otherDiscovery,
	"serverset_sd_configs":    otherDiscovery,
	"stackit_sd_configs":      otherDiscovery,
	"uyuni_sd_configs":        otherDiscovery,
	"vultr_sd_configs":        otherDiscovery,
}

// otherDiscovery stands for a discovery whose fields are not known here.
var otherDiscovery = reflect.TypeFor[[]any]()

// DiscoveryFields returns the names of the fields for service discoveries.
func DiscoveryFields() []string { return sortedKeys(discoveryFields) }

// staticGroup names the fields of a targetgroup.Group, which decodes by hand.
type staticGroup struct {
	Targets []string          `yaml:"targets"`
	Labels  targetgroup.Group `yaml:"labels"`
}
