package otelconf

import "time"

// batch is a batch processor.
type batch struct {
	timeout    time.Duration
	maxSamples int
}

func (l *loader) batch(c *component) batch {
	body := struct {
		Timeout         time.Duration `conf:"timeout"`
		SendBatchSize   int           `conf:"send_batch_size"`
		MaxSize         int           `conf:"send_batch_max_size"`
		MetadataKeys    []string      `conf:"metadata_keys"`
		MetadataLimit   int           `conf:"metadata_cardinality_limit"`
		OnMetadataLimit string        `conf:"on_metadata_cardinality_limit"`
	}{Timeout: 200 * time.Millisecond, SendBatchSize: 8192}
	decodeInto(c.body, c.path, &body, &l.problems)
	if body.SendBatchSize < 0 {
		l.at(c.body.entry("send_batch_size").pos, c.path+".send_batch_size", "must not be negative")
	}
	if body.MaxSize < 0 || body.MaxSize > 0 && body.MaxSize < body.SendBatchSize {
		l.at(c.body.entry("send_batch_max_size").pos, c.path+".send_batch_max_size", "must be greater or equal to send_batch_size (%d)", body.SendBatchSize)
	}
	return batch{timeout: body.Timeout, maxSamples: body.MaxSize}
}

// applyBatches lets the batch processors of the pipelines bound waiting and the
// size of requests. There is one time to wait: the shortest that any of them says.
func (l *loader) applyBatches(batches map[string]batch, pipelines []pipeline, endpoints map[string]*Endpoint) {
	first := true
	for _, p := range pipelines {
		for _, id := range p.processors {
			b, ok := batches[id]
			if !ok {
				continue
			}
			if first || b.timeout < l.config.BatchTimeout {
				l.config.BatchTimeout, first = b.timeout, false
			}
			for _, exporter := range p.exporters {
				if e := endpoints[exporter]; e != nil && b.maxSamples > 0 {
					e.MaxSamplesPerRequest = b.maxSamples
				}
			}
		}
	}
}
