package otelconf

import "time"

// MemoryLimit is what the memory_limiter processors were told; the zero value is no
// limit. Above the soft bound scrapes are skipped; above the hard one the garbage
// collector is run as well.
type MemoryLimit struct {
	// CheckInterval is the time between two looks at the memory in use.
	CheckInterval time.Duration
	// LimitBytes is the hard bound, and SpikeBytes how far the soft one is below it.
	LimitBytes, SpikeBytes int64
	// LimitPercent and SpikePercent are the same, in parts of the memory that the
	// process may use. They count where there is no LimitBytes.
	LimitPercent, SpikePercent int
	// MinGCIntervalSoft and MinGCIntervalHard are the least times between two runs
	// of the garbage collector above the soft and the hard bound.
	MinGCIntervalSoft, MinGCIntervalHard time.Duration
}

// IsZero reports that there is no limit.
func (m MemoryLimit) IsZero() bool { return m.LimitBytes == 0 && m.LimitPercent == 0 }

// Bounds returns the soft and the hard bound in bytes for a process that may use
// total bytes, or zeros if there is no limit.
func (m MemoryLimit) Bounds(total int64) (soft, hard int64) {
	hard, spike := m.LimitBytes, m.SpikeBytes
	if hard == 0 {
		hard, spike = total/100*int64(m.LimitPercent), total/100*int64(m.SpikePercent)
	}
	if spike == 0 {
		spike = hard / 5
	}
	return hard - spike, hard
}

func (l *loader) memoryLimiter(c *component) MemoryLimit {
	body := struct {
		CheckInterval time.Duration `conf:"check_interval"`
		Limit         int64         `conf:"limit_mib"`
		Spike         int64         `conf:"spike_limit_mib"`
		Percent       int           `conf:"limit_percentage"`
		SpikePercent  int           `conf:"spike_limit_percentage"`
		MinGCSoft     time.Duration `conf:"min_gc_interval_when_soft_limited"`
		MinGCHard     time.Duration `conf:"min_gc_interval_when_hard_limited"`
		MaxGCSoft     time.Duration `conf:"max_gc_interval_when_soft_limited"`
		MaxGCHard     time.Duration `conf:"max_gc_interval_when_hard_limited"`
		BallastSize   int64         `conf:"ballast_size_mib"`
	}{MinGCSoft: 10 * time.Second}
	before := len(l.list)
	decodeInto(c.body, c.path, &body, &l.problems)
	if len(l.list) > before {
		return MemoryLimit{}
	}
	wrong := func(key, format string, args ...any) {
		pos, field := c.pos, c.path
		if key != "" {
			field = join(c.path, key)
		}
		if e := c.body.entry(key); e != nil {
			pos = e.pos
		}
		l.at(pos, field, format, args...)
	}
	switch {
	case body.CheckInterval <= 0:
		wrong("check_interval", "must be greater than zero")
	case body.Limit <= 0 && body.Percent <= 0:
		wrong("", "limit_mib or limit_percentage must be greater than zero")
	case body.Percent > 100:
		wrong("limit_percentage", "must be at most 100, found %d", body.Percent)
	case body.Limit < 0 || body.Limit > 1<<32-1:
		wrong("limit_mib", "must be from 1 to %d, found %d", uint32(1<<32-1), body.Limit)
	case body.Limit > 0 && (body.Spike >= body.Limit || body.Spike < 0):
		wrong("spike_limit_mib", "must be smaller than limit_mib (%d), found %d", body.Limit, body.Spike)
	case body.Percent > 0 && (body.SpikePercent >= body.Percent || body.SpikePercent < 0):
		wrong("spike_limit_percentage", "must be smaller than limit_percentage (%d), found %d", body.Percent, body.SpikePercent)
	case body.MinGCSoft < body.MinGCHard:
		wrong("min_gc_interval_when_soft_limited", "must not be smaller than min_gc_interval_when_hard_limited (%s), found %s", body.MinGCHard, body.MinGCSoft)
	}
	m := MemoryLimit{CheckInterval: body.CheckInterval, MinGCIntervalSoft: body.MinGCSoft, MinGCIntervalHard: body.MinGCHard}
	if body.Limit > 0 {
		m.LimitBytes, m.SpikeBytes = body.Limit<<20, body.Spike<<20
	} else {
		m.LimitPercent, m.SpikePercent = body.Percent, body.SpikePercent
	}
	return m
}

// applyMemory takes the limit of the memory_limiter in use. The limit is the whole
// process's, so with several of them the first pipeline's counts.
func (l *loader) applyMemory(limits map[string]MemoryLimit, pipelines []pipeline, all map[string]*component) {
	chosen := ""
	for _, p := range pipelines {
		for i, id := range p.processors {
			m, ok := limits[id]
			switch {
			case !ok || id == chosen:
			case chosen != "":
				l.warn(all[id].pos, all[id].path, "the process has one limit, which is that of %q; this one has no effect", chosen)
			default:
				chosen = id
				l.config.Memory = m
				if m.LimitBytes > 0 {
					l.config.Queue.MaxBytes = min(l.config.Queue.MaxBytes, m.LimitBytes/2)
				}
				if i > 0 {
					l.note(all[id].pos, all[id].path, "is the pipeline's first processor here, whatever its place: scrapes are skipped before they begin")
				}
			}
		}
	}
}
