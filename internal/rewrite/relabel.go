package rewrite

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/mangru/mangru/internal/model"
)

// Relabel applies Prometheus' relabelling rules, such as write_relabel_configs.
type Relabel []*relabel.Config

// Apply runs the rules. A series without any label left is dropped.
func (r Relabel) Apply(b *labels.Builder, _ model.Family) bool {
	if !relabel.ProcessBuilder(b, r...) {
		return false
	}
	left := false
	b.Range(func(labels.Label) { left = true })
	return left
}
