// Package rewrite changes or drops finished series on their way to an endpoint.
//
//	scrape -> [rewrite, once per series] -> buffer -> [rewrite, once per series and endpoint] -> send
//
// What a pipeline's processors, an exporter's naming rules and a
// write_relabel_configs ask for is compiled into a Program. A program runs once
// for each series that a target shows, never once per sample.
package rewrite

import (
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
)

// Step is one change. A step has no state: the same labels and family always
// give the same outcome. Steps are compared by reflect.DeepEqual to find out
// whether a reload changes anything.
type Step interface {
	// Apply changes the labels in b. It returns false to drop the series. The
	// family is what is known about the series' metric family; its Name is the
	// series' own name where nothing is known.
	Apply(b *labels.Builder, family model.Family) (keep bool)
}

// Program is a list of steps in their order; an empty one changes nothing.
type Program []Step

// Apply runs the steps until one drops the series.
func (p Program) Apply(b *labels.Builder, family model.Family) (keep bool) {
	for _, s := range p {
		if !s.Apply(b, family) {
			return false
		}
	}
	return true
}
