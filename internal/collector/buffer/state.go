package buffer

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is what the queue holds at one moment.
type State struct {
	// Bytes is the memory of frames and of the series they keep alive.
	Bytes     int64           `json:"bytes"`
	MaxBytes  int64           `json:"maxBytes"`
	MaxAge    time.Duration   `json:"maxAgeNanoseconds"`
	Endpoints []EndpointState `json:"endpoints"`
	// Directory is nil if there is none.
	Directory *DirectoryState `json:"directory,omitempty"`
}

// DirectoryState is how what waits is kept on disk.
type DirectoryState struct {
	Path string `json:"path"`
	// Bytes is the size of all files.
	Bytes int64 `json:"bytes"`
	// DamagedBytes could not be read at the start.
	DamagedBytes int64 `json:"damagedBytes"`
	// Errors counts failed attempts to write; Error is what the last attempt
	// failed with, or why the directory is not used at all.
	Errors int64  `json:"errors"`
	Error  string `json:"error,omitempty"`
}

// EndpointState is what waits for one endpoint.
type EndpointState struct {
	Name    string `json:"name"`
	Samples int64  `json:"samples"`
	Frames  int    `json:"frames"`
	// CompressedFrames are those of the Frames that are in blocks.
	CompressedFrames int `json:"compressedFrames"`
	// Bytes is the memory of the frames, which endpoints share.
	Bytes          int64         `json:"bytes"`
	BytesPerSample float64       `json:"bytesPerSample"`
	OldestAge      time.Duration `json:"oldestAgeNanoseconds"`
	// Dropped counts the samples that left undelivered.
	Dropped map[Reason]int64 `json:"dropped"`
}

// State returns a snapshot.
func (q *Queue) State() State {
	directory := q.directoryState() // without the lock: the journal may be writing
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.expire(now)
	st := State{Bytes: q.bytes, MaxBytes: q.cfg.MaxBytes, MaxAge: q.cfg.MaxAge, Directory: directory}
	for _, ep := range q.endpoints {
		es := EndpointState{
			Name: ep.Name, Samples: int64(ep.samples), Frames: ep.frames + ep.packed, CompressedFrames: ep.packed,
			Bytes: ep.bytes, Dropped: maps.Clone(ep.dropped),
		}
		if ep.samples > 0 {
			es.BytesPerSample = float64(ep.bytes) / float64(ep.samples)
			es.OldestAge = now - q.oldestOf(ep).first
		}
		st.Endpoints = append(st.Endpoints, es)
	}
	return st
}

func (q *Queue) directoryState() *DirectoryState {
	st, failed := &DirectoryState{}, q.broken
	if s := q.spool; s != nil {
		st.Bytes, st.DamagedBytes = s.journal.Size(), s.journal.Damage().Bytes
		q.mu.Lock()
		st.Errors, failed = s.errors, s.failed
		q.mu.Unlock()
	} else if failed == nil {
		return nil
	}
	st.Path = q.directory
	if failed != nil {
		st.Errors = max(1, st.Errors)
		st.Error = failed.Error()
	}
	return st
}

// oldestOf returns the oldest entry that waits for an endpoint: the first one
// without a reader, unless one with a reader is older.
func (q *Queue) oldestOf(ep *endpoint) *entry {
	var oldest *entry
	for _, t := range q.targets {
		if len(t.lanes) <= ep.slot || t.lanes[ep.slot] == nil {
			continue
		}
		if e := t.lanes[ep.slot].head; e != nil && (oldest == nil || e.seq < oldest.seq) {
			oldest = e
		}
	}
	return oldest
}

var (
	descBytes = prometheus.NewDesc("mangru_collector_queue_bytes",
		"Memory of the frames that wait, with the series they keep alive.", nil, nil)
	descMaxBytes = prometheus.NewDesc("mangru_collector_queue_max_bytes",
		"Bound of mangru_collector_queue_bytes; 0 means none.", nil, nil)
	descEndpointBytes = prometheus.NewDesc("mangru_collector_queue_endpoint_bytes",
		"Memory of the frames that wait for the endpoint; endpoints share it.", []string{"endpoint"}, nil)
	descSamples = prometheus.NewDesc("mangru_collector_queue_samples",
		"Samples that wait for the endpoint.", []string{"endpoint"}, nil)
	descFrames = prometheus.NewDesc("mangru_collector_queue_frames",
		"Scrapes that wait for the endpoint, by how they are held.", []string{"endpoint", "form"}, nil)
	descOldest = prometheus.NewDesc("mangru_collector_queue_oldest_age_seconds",
		"Age of the oldest frame that waits for the endpoint.", []string{"endpoint"}, nil)
	descDisk = prometheus.NewDesc("mangru_collector_queue_disk_bytes",
		"Size of the files in the queue's directory.", nil, nil)
	descDiskErrors = prometheus.NewDesc("mangru_collector_queue_disk_errors_total",
		"Failed attempts to write what waits to the queue's directory.", nil, nil)
	descDropped = prometheus.NewDesc("mangru_collector_queue_dropped_samples_total",
		"Samples that left the queue undelivered.", []string{"endpoint", "reason"}, nil)
)

// Describe implements prometheus.Collector.
func (q *Queue) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBytes, descMaxBytes, descEndpointBytes, descSamples, descFrames, descOldest, descDisk, descDiskErrors, descDropped,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (q *Queue) Collect(ch chan<- prometheus.Metric) {
	st := q.State()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descBytes, float64(st.Bytes))
	gauge(descMaxBytes, float64(st.MaxBytes))
	if d := st.Directory; d != nil {
		gauge(descDisk, float64(d.Bytes))
		ch <- prometheus.MustNewConstMetric(descDiskErrors, prometheus.CounterValue, float64(d.Errors))
	}
	for _, ep := range st.Endpoints {
		gauge(descEndpointBytes, float64(ep.Bytes), ep.Name)
		gauge(descSamples, float64(ep.Samples), ep.Name)
		gauge(descFrames, float64(ep.Frames-ep.CompressedFrames), ep.Name, "plain")
		gauge(descFrames, float64(ep.CompressedFrames), ep.Name, "compressed")
		gauge(descOldest, ep.OldestAge.Seconds(), ep.Name)
		for _, why := range reasons {
			ch <- prometheus.MustNewConstMetric(descDropped, prometheus.CounterValue,
				float64(ep.Dropped[why]), ep.Name, string(why))
		}
	}
}
