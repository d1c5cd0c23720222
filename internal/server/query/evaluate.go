package query

import "github.com/prometheus/prometheus/promql"

// Engine returns what evaluates queries, for rules.
func (h *Handler) Engine() promql.QueryEngine { return h.engine }
