package api

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Rate is how often something may be done: so many times a second on average,
// and Burst at once. A Burst of zero is twice a second's worth.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Rates bound how often an account may call, as AWS' quotas do. Zero values take
// the defaults named at the fields, negative ones mean no bound. Calls of the
// data plane count for the account that the workspace belongs to.
type Rates struct {
	Control Rate // 100/s
	// Write is for remote write, Query for queries, Series for series, labels and
	// metadata, Other for the rest of the data plane.
	Write, Query, Series, Other Rate // none
}

// rateClass is what is bounded together.
type rateClass int

const (
	rateControl rateClass = iota
	rateWrite
	rateQuery
	rateSeries
	rateOther
	rateClasses
)

// name tells a class in metrics, and its quota's code in AWS.
func (c rateClass) name() (name, quota string) {
	switch c {
	case rateControl:
		return "control", "L-8491EB93"
	case rateWrite:
		return "write", "L-4340E931"
	case rateQuery:
		return "query", "L-D5FD0534"
	case rateSeries:
		return "series", "L-F6DD1217"
	}
	return "other", "L-AA9AE19E"
}

// throttle holds accounts back. There are as many limiters as accounts that
// exist call, times classes.
type throttle struct {
	rates     [rateClasses]Rate
	limiters  sync.Map // of *rate.Limiter by limiterKey
	throttled *prometheus.CounterVec
}

type limiterKey struct {
	account string
	class   rateClass
}

func newThrottle(r Rates, reg prometheus.Registerer) (*throttle, error) {
	if r.Control.PerSecond == 0 {
		r.Control.PerSecond = 100
	}
	t := &throttle{rates: [rateClasses]Rate{rateControl: r.Control, rateWrite: r.Write, rateQuery: r.Query, rateSeries: r.Series, rateOther: r.Other},
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mangru_aps_throttled_total", Help: "Requests refused because the account calls more often than it may.",
		}, []string{"class"})}
	for i := range t.rates {
		if one := &t.rates[i]; one.Burst == 0 {
			one.Burst = int(math.Ceil(2 * one.PerSecond))
		}
	}
	if reg != nil {
		if err := reg.Register(t.throttled); err != nil {
			return nil, fmt.Errorf("register throttling metrics: %w", err)
		}
	}
	return t, nil
}

// take refuses a call that comes too early.
func (t *throttle) take(w http.ResponseWriter, c *Call, class rateClass) error {
	r := t.rates[class]
	if r.PerSecond <= 0 {
		return nil
	}
	key := limiterKey{c.Principal.AccountID, class}
	if c.workspace != nil {
		key.account = c.workspace.AccountID
	}
	l, ok := t.limiters.Load(key)
	if !ok {
		l, _ = t.limiters.LoadOrStore(key, rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst))
	}
	if l.(*rate.Limiter).Allow() {
		return nil
	}
	name, quota := class.name()
	t.throttled.WithLabelValues(name).Inc()
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(1/r.PerSecond)))))
	return &Error{Status: http.StatusTooManyRequests, Code: "ThrottlingException", Message: "Rate exceeded",
		Extra: map[string]any{"serviceCode": ServiceAPS, "quotaCode": quota}}
}
