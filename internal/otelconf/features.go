package otelconf

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
)

// featuresFlag is the flag by which Prometheus' features are asked for.
const featuresFlag = "--enable-feature"

// plainFeatures are features of Prometheus that are on here in any case, or that
// Prometheus itself has made a setting of the configuration.
var plainFeatures = []string{"native-histograms", "ooo-native-histograms", "auto-reload-config", "auto-gomaxprocs", "auto-gomemlimit", "new-service-discovery-manager", "agent", "expand-external-labels"}

// applyFeatures reads Prometheus' feature flags, for configurations that come with
// them. Most of them are about storing and querying.
func (l *loader) applyFeatures() {
	for _, list := range l.opts.Features {
		for _, name := range strings.Split(list, ",") {
			switch name = strings.TrimSpace(name); {
			case name == "created-timestamp-zero-ingestion":
				l.config.CreatedZeroIngestion = true
			case name == "st-storage":
				l.config.StartTimestamps = true
			case name == "extra-scrape-metrics":
				l.warn(position{file: featuresFlag}, "", "the feature %q has no effect here: the setting extra_scrape_metrics of global and of scrape configurations has", name)
			case name == "" || slices.Contains(plainFeatures, name):
			default:
				l.warn(position{file: featuresFlag}, "", "the feature %q has no effect in a collector; created-timestamp-zero-ingestion and st-storage have", name)
			}
		}
	}
}

// applyFeaturesTo changes the defaults as Prometheus' features do.
func (l *loader) applyFeaturesTo(global *config.GlobalConfig) {
	if (l.config.CreatedZeroIngestion || l.config.StartTimestamps) && global.ScrapeProtocols == nil {
		global.ScrapeProtocols = config.DefaultProtoFirstScrapeProtocols
	}
}
