package load

import (
	"math"
	"strconv"
	"strings"

	"github.com/mangru/mangru/test/bench/collector/recording"
)

// motion is how a series' value goes on after the recording: a counter repeats
// the recorded increases, anything else repeats the recorded values.
type motion struct {
	// start and sums are a counter's: after n steps it stands at start plus
	// sums[n%len] plus whole rounds.
	start float64
	sums  []float64
	round float64
	// scale is ten to the number of decimals that the recorded values have, to
	// which sums are rounded; 0 leaves the last digits as they come.
	scale float64
	// values is set for what is not a counter; NaN with absent set is a scrape
	// without the series.
	values []float64
	absent []bool
}

// maxDecimals is up to where a sum is rounded as the recorded values are. Beyond
// it they are sums of floats themselves.
const maxDecimals = 9

// newMotion derives how the series moves. A series that did not change has no
// motion: then text is its value.
func newMotion(s recording.Series, metricType string) (m *motion, text string, err error) {
	constant, decimals := true, 0
	m = &motion{values: make([]float64, len(s.Values)), absent: make([]bool, len(s.Values))}
	gaps := false
	for i, v := range s.Values {
		if v != s.Values[0] {
			constant = false
		}
		if v == "" {
			gaps = true
			m.absent[i] = true
			continue
		}
		if m.values[i], err = strconv.ParseFloat(v, 64); err != nil {
			return nil, "", err
		}
		decimals = max(decimals, decimalsOf(v))
	}
	if constant {
		return nil, s.Values[0], nil
	}
	if gaps {
		return m, "", nil
	}
	m.absent = nil
	if isCounter(m.values, metricType, s.Text) {
		m.count(decimals)
	}
	return m, "", nil
}

// count turns recorded values into a counter's sums.
func (m *motion) count(decimals int) {
	m.start = m.values[0]
	for _, v := range m.values[:len(m.values)-1] {
		m.sums = append(m.sums, v-m.start)
	}
	m.round = m.values[len(m.values)-1] - m.start
	if decimals <= maxDecimals {
		m.scale = math.Pow10(decimals)
	}
	m.values = nil
}

// isCounter says whether values only ever grow. A gauge counts when it grew at
// every scrape, as a clock does.
func isCounter(values []float64, metricType, text string) bool {
	always := true
	for i := 1; i < len(values); i++ {
		if !(values[i] >= values[i-1]) { // NaN is no counter's value
			return false
		}
		always = always && values[i] > values[i-1]
	}
	switch metricType {
	case "counter", "histogram":
		return true
	case "summary":
		return !strings.Contains(text, "quantile=")
	}
	return always && len(values) > 2
}

// decimalsOf is the number of digits after the point, were the number written
// without an exponent.
func decimalsOf(number string) int {
	mantissa, exponent, _ := strings.Cut(number, "e")
	_, fraction, _ := strings.Cut(mantissa, ".")
	e, err := strconv.Atoi(exponent)
	if err != nil {
		e = 0
	}
	return max(0, len(fraction)-e)
}

// present says whether the series is there after some steps.
func (m *motion) present(step int64) bool {
	return m.absent == nil || !m.absent[step%int64(len(m.absent))]
}

// at is the value after some steps.
func (m *motion) at(step int64) float64 {
	if m.sums == nil {
		return m.values[step%int64(len(m.values))]
	}
	n := int64(len(m.sums))
	v := m.start + float64(step/n)*m.round + m.sums[step%n]
	if m.scale != 0 && math.Abs(v) < 1e15 {
		v = math.Round(v*m.scale) / m.scale
	}
	return v
}

// appendValue writes a value as Prometheus' exposition library does.
func appendValue(dst []byte, v float64) []byte { return strconv.AppendFloat(dst, v, 'g', -1, 64) }
