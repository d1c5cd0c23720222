package ingest

import (
	"time"
)

// Limits bound what a sender may send to a workspace. Zero values take the
// defaults named at the fields, or those of the server's own Limits; negative
// ones mean no limit.
type Limits struct {
	MaxDecompressedBytes int           // 32 MiB
	MaxSeriesPerRequest  int           // 500,000
	MaxSamplesPerRequest int           // 1,000,000
	MaxLabels            int           // 150, the metric's name among them
	MaxLabelName         int           // 1024 bytes
	MaxLabelValue        int           // 7168 bytes
	MaxSeries            int           // 2,000,000 in memory
	MaxSeriesPerMetric   int           // none
	MaxSampleAge         time.Duration // 24h
	MaxSampleFuture      time.Duration // 10m
	// MaxSampleRate is how many samples and metadata per second are taken, on
	// average; a request of any allowed size may be on top of that.
	MaxSampleRate int // 1,666,666
	// MaxHistogramBuckets is how many buckets a native histogram may have. One
	// with more is brought to a lower resolution, if it is of a kind that can be.
	MaxHistogramBuckets int // none
	// OutOfOrderWindow is how far behind the workspace's newest sample one may be
	// that is not the newest of its series. Negative means that there is no disorder at all.
	OutOfOrderWindow time.Duration // 1h
	// LabelSets bound the series of parts of the workspace. Series that are in
	// none of them are in the one with no labels, if there is one.
	LabelSets []LabelSetLimit
	// HA says that replicas send the same samples, of which one is taken.
	HA HA
}

// LabelSetLimit bounds the series that have all of some labels.
type LabelSetLimit struct {
	Labels    map[string]string
	MaxSeries int
}

// HA is how replicas that send the same samples are told apart. A replica is
// elected as soon as it sends; the samples of the others are dropped until the
// elected one has been silent for a while. Series without the two labels are
// taken from everyone.
type HA struct {
	Enabled      bool
	ClusterLabel string        // cluster
	ReplicaLabel string        // __replica__; it is not stored
	Failover     time.Duration // 30s
	MaxClusters  int           // 500
}

const (
	defaultSampleRate       = 1_666_666
	defaultOutOfOrderWindow = time.Hour
)

// setDefaults sets what is zero to the value in from, or else to the default.
func (l *Limits) setDefaults(from *Limits) {
	set(&l.MaxDecompressedBytes, from.MaxDecompressedBytes, 32<<20)
	set(&l.MaxSeriesPerRequest, from.MaxSeriesPerRequest, 500_000)
	set(&l.MaxSamplesPerRequest, from.MaxSamplesPerRequest, 1_000_000)
	set(&l.MaxLabels, from.MaxLabels, 150)
	set(&l.MaxLabelName, from.MaxLabelName, 1024)
	set(&l.MaxLabelValue, from.MaxLabelValue, 7168)
	set(&l.MaxSeries, from.MaxSeries, 2_000_000)
	set(&l.MaxSeriesPerMetric, from.MaxSeriesPerMetric, -1)
	set(&l.MaxSampleAge, from.MaxSampleAge, 24*time.Hour)
	set(&l.MaxSampleFuture, from.MaxSampleFuture, 10*time.Minute)
	set(&l.MaxSampleRate, from.MaxSampleRate, defaultSampleRate)
	set(&l.MaxHistogramBuckets, from.MaxHistogramBuckets, -1)
	set(&l.OutOfOrderWindow, from.OutOfOrderWindow, defaultOutOfOrderWindow)
	if l.LabelSets == nil {
		l.LabelSets = from.LabelSets
	}
	l.HA.Enabled = l.HA.Enabled || from.HA.Enabled
	set(&l.HA.ClusterLabel, from.HA.ClusterLabel, "cluster")
	set(&l.HA.ReplicaLabel, from.HA.ReplicaLabel, "__replica__")
	set(&l.HA.Failover, from.HA.Failover, 30*time.Second)
	set(&l.HA.MaxClusters, from.HA.MaxClusters, 500)
}

// set gives a value that is zero another one.
func set[T comparable](v *T, inherited, def T) {
	var zero T
	if *v == zero {
		if *v = inherited; *v == zero {
			*v = def
		}
	}
}

// over reports whether n is beyond a limit.
func over(n, limit int) bool { return limit > 0 && n > limit }
