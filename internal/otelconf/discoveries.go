package otelconf

import (
	"reflect"

	"github.com/prometheus/prometheus/discovery/aws"
	"github.com/prometheus/prometheus/discovery/azure"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/digitalocean"
	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/eureka"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/gce"
	"github.com/prometheus/prometheus/discovery/hetzner"
	promhttp "github.com/prometheus/prometheus/discovery/http"
	_ "github.com/prometheus/prometheus/discovery/install" // a discovery can be parsed once it is registered
	"github.com/prometheus/prometheus/discovery/ionos"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/linode"
	"github.com/prometheus/prometheus/discovery/marathon"
	"github.com/prometheus/prometheus/discovery/moby"
	"github.com/prometheus/prometheus/discovery/nomad"
	"github.com/prometheus/prometheus/discovery/oci"
	"github.com/prometheus/prometheus/discovery/openstack"
	"github.com/prometheus/prometheus/discovery/outscale"
	"github.com/prometheus/prometheus/discovery/ovhcloud"
	"github.com/prometheus/prometheus/discovery/puppetdb"
	"github.com/prometheus/prometheus/discovery/scaleway"
	"github.com/prometheus/prometheus/discovery/stackit"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/discovery/triton"
	"github.com/prometheus/prometheus/discovery/uyuni"
	"github.com/prometheus/prometheus/discovery/vultr"
	"github.com/prometheus/prometheus/discovery/xds"
	"github.com/prometheus/prometheus/discovery/zookeeper"
)

// discoveryFields are what the registered service discoveries add to a scrape
// configuration. Prometheus' registry cannot be listed, so they are named here, to
// say which fields are possible where one is not.
var discoveryFields = map[string]reflect.Type{
	"static_configs":          reflect.TypeFor[staticGroup](),
	"aws_sd_configs":          reflect.TypeFor[aws.SDConfig](),
	"azure_sd_configs":        reflect.TypeFor[azure.SDConfig](),
	"consul_sd_configs":       reflect.TypeFor[consul.SDConfig](),
	"digitalocean_sd_configs": reflect.TypeFor[digitalocean.SDConfig](),
	"dns_sd_configs":          reflect.TypeFor[dns.SDConfig](),
	"docker_sd_configs":       reflect.TypeFor[moby.DockerSDConfig](),
	"dockerswarm_sd_configs":  reflect.TypeFor[moby.DockerSwarmSDConfig](),
	"ec2_sd_configs":          reflect.TypeFor[aws.EC2SDConfig](),
	"ecs_sd_configs":          reflect.TypeFor[aws.ECSSDConfig](),
	"elasticache_sd_configs":  reflect.TypeFor[aws.ElasticacheSDConfig](),
	"eureka_sd_configs":       reflect.TypeFor[eureka.SDConfig](),
	"file_sd_configs":         reflect.TypeFor[file.SDConfig](),
	"gce_sd_configs":          reflect.TypeFor[gce.SDConfig](),
	"hetzner_sd_configs":      reflect.TypeFor[hetzner.SDConfig](),
	"http_sd_configs":         reflect.TypeFor[promhttp.SDConfig](),
	"ionos_sd_configs":        reflect.TypeFor[ionos.SDConfig](),
	"kubernetes_sd_configs":   reflect.TypeFor[kubernetes.SDConfig](),
	"kuma_sd_configs":         reflect.TypeFor[xds.SDConfig](),
	"lightsail_sd_configs":    reflect.TypeFor[aws.LightsailSDConfig](),
	"linode_sd_configs":       reflect.TypeFor[linode.SDConfig](),
	"marathon_sd_configs":     reflect.TypeFor[marathon.SDConfig](),
	"msk_sd_configs":          reflect.TypeFor[aws.MSKSDConfig](),
	"nerve_sd_configs":        reflect.TypeFor[zookeeper.NerveSDConfig](),
	"nomad_sd_configs":        reflect.TypeFor[nomad.SDConfig](),
	"oci_sd_configs":          reflect.TypeFor[oci.SDConfig](),
	"openstack_sd_configs":    reflect.TypeFor[openstack.SDConfig](),
	"outscale_sd_configs":     reflect.TypeFor[outscale.SDConfig](),
	"ovhcloud_sd_configs":     reflect.TypeFor[ovhcloud.SDConfig](),
	"puppetdb_sd_configs":     reflect.TypeFor[puppetdb.SDConfig](),
	"rds_sd_configs":          reflect.TypeFor[aws.RDSSDConfig](),
	"scaleway_sd_configs":     reflect.TypeFor[scaleway.SDConfig](),
	"serverset_sd_configs":    reflect.TypeFor[zookeeper.ServersetSDConfig](),
	"stackit_sd_configs":      reflect.TypeFor[stackit.SDConfig](),
	"triton_sd_configs":       reflect.TypeFor[triton.SDConfig](),
	"uyuni_sd_configs":        reflect.TypeFor[uyuni.SDConfig](),
	"vultr_sd_configs":        reflect.TypeFor[vultr.SDConfig](),
}

// staticGroup names the fields of a targetgroup.Group, which decodes by hand.
type staticGroup struct {
	Targets []string          `yaml:"targets"`
	Labels  targetgroup.Group `yaml:"labels"`
}
