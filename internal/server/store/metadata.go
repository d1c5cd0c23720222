package store

import "sync"

// maxMetadata is how many metric families with metadata a workspace keeps, as
// many as Managed Prometheus does; what is beyond is forgotten, samples are not.
const maxMetadata = 20_000

// families keeps the newest metadata of each metric family, in memory: senders
// repeat it every minute or so. It is safe for concurrent use.
type families struct {
	mu sync.RWMutex
	m  map[string]familyMetadata
}

type familyMetadata struct{ typ, help, unit string }

// SetMetadata keeps what a sender said about a metric family and reports
// whether there was room.
func (d *DB) SetMetadata(family, typ, help, unit string) bool {
	return d.metadata.set(family, familyMetadata{typ, help, unit}, true)
}

// AddMetadata is SetMetadata for one who does not know the family's text: what
// is known already stays.
func (d *DB) AddMetadata(family, typ, unit string) bool {
	return d.metadata.set(family, familyMetadata{typ: typ, unit: unit}, false)
}

func (f *families) set(family string, md familyMetadata, replace bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.m == nil {
		f.m = make(map[string]familyMetadata)
	}
	_, known := f.m[family]
	if known && !replace {
		return true
	}
	if !known && len(f.m) >= maxMetadata {
		return false
	}
	f.m[family] = md
	return true
}

// EachMetadata calls f for every metric family, in no order, until f returns
// false. An empty name means all families.
func (d *DB) EachMetadata(name string, f func(family, typ, help, unit string) bool) {
	m := &d.metadata
	m.mu.RLock()
	defer m.mu.RUnlock()
	if name != "" {
		if md, ok := m.m[name]; ok {
			f(name, md.typ, md.help, md.unit)
		}
		return
	}
	for family, md := range m.m {
		if !f(family, md.typ, md.help, md.unit) {
			return
		}
	}
}
