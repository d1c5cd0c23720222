package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// PriceList says what samples cost that are taken in, in tiers of a month.
type PriceList struct {
	// Name and Source say whose prices these are and where they are published.
	Name     string `json:"name"`
	Source   string `json:"source"`
	Currency string `json:"currency"`
	// Ingestion are the tiers, from the first sample of a month on.
	Ingestion []PriceTier `json:"ingestion"`
}

// PriceTier is a price that is good for a number of samples.
type PriceTier struct {
	// UpTo is the last sample of a month that has this price; 0, of the last tier
	// only, means all that are left.
	UpTo float64 `json:"up_to"`
	// Per10Million is the price of ten million samples.
	Per10Million float64 `json:"per_10_million"`
}

// AMPPrices are those of Amazon Managed Service for Prometheus in us-east-1.
func AMPPrices() *PriceList {
	return &PriceList{Name: "Amazon Managed Service for Prometheus, us-east-1", Source: "https://aws.amazon.com/prometheus/pricing/", Currency: "USD",
		Ingestion: []PriceTier{{UpTo: 2e9, Per10Million: 0.90}, {UpTo: 252e9, Per10Million: 0.35}, {Per10Million: 0.16}}}
}

// maxPriceList bounds the file, in bytes.
const maxPriceList = 1 << 20

// LoadPrices reads a price list, JSON with the fields of PriceList. Errors name
// file and field.
func LoadPrices(file string) (*PriceList, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(f, maxPriceList))
	if err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	p, err := parsePrices(text)
	if err != nil {
		return nil, fmt.Errorf("price list %s: %w", file, err)
	}
	return p, nil
}

func parsePrices(text []byte) (*PriceList, error) {
	p := new(PriceList)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, err
	}
	if p.Currency == "" {
		return nil, errors.New("currency: is required, such as USD")
	}
	if len(p.Ingestion) == 0 {
		return nil, errors.New("ingestion: at least one tier is required")
	}
	before := 0.0
	for i, t := range p.Ingestion {
		last := i == len(p.Ingestion)-1
		switch {
		case t.Per10Million < 0:
			return nil, fmt.Errorf("ingestion[%d].per_10_million: found %g, must not be negative", i, t.Per10Million)
		case t.UpTo == 0 && last:
		case t.UpTo <= before:
			return nil, fmt.Errorf("ingestion[%d].up_to: found %g, must be more than %g; only the last tier may leave it out", i, t.UpTo, before)
		case last:
			return nil, fmt.Errorf("ingestion[%d].up_to: the last tier must leave it out", i)
		}
		before = t.UpTo
	}
	return p, nil
}

// secondsPerMonth are those of the 30 days that bills are made for here.
const secondsPerMonth = 30 * 24 * 3600

// perMonth is what a month costs with so many samples a second.
func (p *PriceList) perMonth(samplesPerSecond float64) (cost float64) {
	samples, from := samplesPerSecond*secondsPerMonth, 0.0
	for _, t := range p.Ingestion {
		to := t.UpTo
		if to == 0 {
			to = math.Inf(1)
		}
		cost += max(0, min(samples, to)-from) / 1e7 * t.Per10Million
		from = to
	}
	return cost
}
