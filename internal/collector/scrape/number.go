package scrape

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unsafe"
)

// sampleAt reads what follows a series' text: a space, a value, perhaps a time,
// and a line feed. It returns the size, 0 where b is anything else; then
// Prometheus' parser decides what it is.
func sampleAt(b []byte) (v float64, t int64, hasTime bool, size int) {
	if len(b) == 0 || b[0] != ' ' {
		return 0, 0, false, 0
	}
	v, i := decimal(b, 1)
	if i == 0 {
		if v, i = otherFloat(b); i == 0 {
			return 0, 0, false, 0
		}
	}
	if b[i] == ' ' && i+1 < len(b) && b[i+1] >= '0' && b[i+1] <= '9' {
		digits := i + 1
		for i = digits; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
			t = 10*t + int64(b[i]-'0')
		}
		if i-digits > 18 || i == len(b) {
			return 0, 0, false, 0
		}
		hasTime = true
	}
	if b[i] != '\n' {
		return 0, 0, false, 0
	}
	return v, t, hasTime, i + 1
}

// Powers of ten that a float64 holds exactly.
var tens = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// decimal reads a decimal number that ends with a space or a line feed, from b[i]
// on. It returns where the number ends, 0 if it is not one that can be had
// exactly in one multiplication or division: a mantissa below 2^53 and a power
// of ten up to 22 (W. D. Clinger, "How to read floating point numbers
// accurately", 1990).
func decimal(b []byte, i int) (v float64, end int) {
	negative := b[i] == '-'
	if negative {
		i++
	}
	var mantissa uint64
	start, point := i, 0
	for ; i < len(b); i++ {
		if d := b[i] - '0'; d <= 9 {
			mantissa = 10*mantissa + uint64(d)
		} else if b[i] == '.' && point == 0 {
			point = i + 1
		} else {
			break
		}
	}
	digits, exponent := i-start, 0
	if point > 0 {
		digits--
		exponent = point - i
	}
	if digits == 0 || digits > 18 || i >= len(b) {
		return 0, 0
	}
	if b[i] == 'e' {
		e, n := smallExponent(b[i+1:])
		if n == 0 {
			return 0, 0
		}
		exponent += e
		i += 1 + n
	}
	if i >= len(b) || (b[i] != '\n' && b[i] != ' ') || mantissa >= 1<<53 {
		return 0, 0
	}
	v = float64(mantissa)
	switch {
	case exponent == 0:
	case exponent > 0 && exponent < len(tens):
		v *= tens[exponent]
	case exponent < 0 && -exponent < len(tens):
		v /= tens[-exponent]
	default:
		return 0, 0
	}
	if negative {
		v = -v
	}
	return v, i
}

// smallExponent reads a sign and one or two digits.
func smallExponent(b []byte) (e, size int) {
	i := 0
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		i++
	}
	from := i
	for i < len(b) && i-from < 3 && b[i] >= '0' && b[i] <= '9' {
		e = 10*e + int(b[i]-'0')
		i++
	}
	if i == from {
		return 0, 0
	}
	if b[0] == '-' {
		e = -e
	}
	return e, i
}

// otherFloat reads a value as Prometheus does, after a space.
func otherFloat(b []byte) (v float64, end int) {
	end = 1 + bytes.IndexAny(b[1:], " \t\n{\x00")
	if end < 2 || b[end] == '{' || b[end] == 0 || b[end] == '\t' {
		return 0, 0
	}
	s := unsafe.String(&b[1], end-1)
	// Prometheus keeps to the float formats of Go before 1.13.
	if strings.ContainsAny(s, "pP_") {
		return 0, 0
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, 0
	}
	return canonicalNaN(v), end
}

// canonicalNaN makes every NaN the usual one, as Prometheus' text parser does.
func canonicalNaN(v float64) float64 {
	if math.IsNaN(v) {
		return math.Float64frombits(0x7ff8000000000001)
	}
	return v
}
