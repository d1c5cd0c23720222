// Package recording keeps what a target's metrics page showed over some
// minutes: every series once, with the values that it had one scrape after the
// other. The compact form is text, so that a difference can be read:
//
//	# HELP node_load1 1m load average.
//	# TYPE node_load1 gauge
//	node_load1 0.21 0.26 = - 0.31
//	container_sockets{pod="shop"} @ 3 4
//
// where "=" is the value before, "-" a scrape that did not have the series, and
// "@" says that the series carries a timestamp of its own; then only the values
// at different timestamps are kept. Values that would only repeat the last one
// to the end are left out.
package recording

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Recording is one target's page over several scrapes.
type Recording struct {
	// Scrapes is how many there were.
	Scrapes  int
	Families []Family
}

// Family is one metric with its comment lines.
type Family struct {
	// Header holds the HELP and TYPE lines, each with its line feed.
	Header string
	// Type is what the TYPE line says, or empty.
	Type   string
	Series []Series
}

// Series is one line of the page.
type Series struct {
	// Text is the metric's name and labels as exposed.
	Text string
	// Stamped says that the line ends in a timestamp.
	Stamped bool
	// Values has an element for every scrape, or for every distinct timestamp.
	// An empty one means that the series was not there.
	Values []string
}

// Merge makes a recording of the pages of one target, in the order of scraping.
// Series that first appear on a later page come at the end of their family.
// Families are told apart by their header, so every page must have them.
func Merge(pages [][]byte) (*Recording, error) {
	m := merger{rec: &Recording{Scrapes: len(pages)}, families: map[string]int{}, series: map[string]place{}}
	for scrape, page := range pages {
		if err := m.add(scrape, page); err != nil {
			return nil, fmt.Errorf("page %d: %w", scrape+1, err)
		}
	}
	for f := range m.rec.Families {
		for s := range m.rec.Families[f].Series {
			series := &m.rec.Families[f].Series[s]
			for !series.Stamped && len(series.Values) < len(pages) {
				series.Values = append(series.Values, "")
			}
		}
	}
	return m.rec, nil
}

type place struct {
	family, series int
	stamp          string
}

type merger struct {
	rec      *Recording
	families map[string]int   // by header
	series   map[string]place // by text
}

func (m *merger) add(scrape int, page []byte) error {
	var header strings.Builder
	family := -1
	for line := range strings.Lines(string(page)) {
		switch {
		case strings.HasPrefix(line, "#"):
			if family >= 0 {
				header.Reset()
				family = -1
			}
			header.WriteString(line)
			continue
		case strings.TrimSpace(line) == "":
			continue
		}
		if family < 0 {
			family = m.family(header.String())
		}
		text, value, stamp, err := splitLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return err
		}
		m.sample(family, scrape, text, value, stamp)
	}
	return nil
}

func (m *merger) family(header string) int {
	i, known := m.families[header]
	if !known {
		i = len(m.rec.Families)
		m.families[header] = i
		m.rec.Families = append(m.rec.Families, Family{Header: header, Type: typeOf(header)})
	}
	return i
}

func (m *merger) sample(family, scrape int, text, value, stamp string) {
	p, known := m.series[text]
	if !known {
		f := &m.rec.Families[family]
		p = place{family: family, series: len(f.Series)}
		f.Series = append(f.Series, Series{Text: text, Stamped: stamp != ""})
	}
	series := &m.rec.Families[p.family].Series[p.series]
	if series.Stamped {
		if stamp != p.stamp {
			series.Values = append(series.Values, value)
		}
	} else {
		for len(series.Values) < scrape {
			series.Values = append(series.Values, "")
		}
		series.Values = append(series.Values, value)
	}
	p.stamp = stamp
	m.series[text] = p
}

// splitLine cuts a line of the text format into the series, its value and its
// timestamp, which may be empty.
func splitLine(line string) (text, value, stamp string, err error) {
	end := strings.IndexByte(line, ' ')
	if brace := strings.IndexByte(line, '{'); brace >= 0 && brace < end {
		end = labelsEnd(line, brace)
	}
	if end <= 0 || end >= len(line) {
		return "", "", "", fmt.Errorf("no value in line %q", line)
	}
	fields := strings.Fields(line[end:])
	if len(fields) < 1 || len(fields) > 2 {
		return "", "", "", fmt.Errorf("line %q: want a value and perhaps a timestamp after the series, found %d fields", line, len(fields))
	}
	if len(fields) == 2 {
		stamp = fields[1]
	}
	return line[:end], fields[0], stamp, nil
}

// labelsEnd is the index after the brace that closes the one at open, or -1.
func labelsEnd(line string, open int) int {
	quoted := false
	for i := open + 1; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i + 1
		}
	}
	return -1
}

func typeOf(header string) string {
	for line := range strings.Lines(header) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "TYPE" {
			return fields[3]
		}
	}
	return ""
}

// Sort brings the series of every family into the order of their text. It is
// meant for pages whose order says nothing.
func (r *Recording) Sort() {
	for f := range r.Families {
		slices.SortFunc(r.Families[f].Series, func(a, b Series) int { return strings.Compare(a.Text, b.Text) })
	}
	slices.SortStableFunc(r.Families, func(a, b Family) int { return strings.Compare(a.Header, b.Header) })
}

// Map replaces every series' text by what f makes of it, and leaves out those
// for which f returns "".
func (r *Recording) Map(f func(text string) string) {
	for i := range r.Families {
		family := &r.Families[i]
		family.Series = slices.DeleteFunc(family.Series, func(s Series) bool { return f(s.Text) == "" })
		for s := range family.Series {
			family.Series[s].Text = f(family.Series[s].Text)
		}
	}
	r.Families = slices.DeleteFunc(r.Families, func(f Family) bool { return len(f.Series) == 0 })
}

// Write stores the recording in its compact form, compressed by zstd.
func (r *Recording) Write(w io.Writer) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "# SCRAPES %d\n", r.Scrapes)
	for _, f := range r.Families {
		text.WriteString(f.Header)
		for _, s := range f.Series {
			s.write(&text)
		}
	}
	if _, err := z.Write(text.Bytes()); err != nil {
		return err
	}
	return z.Close()
}

func (s *Series) write(w *bytes.Buffer) {
	w.WriteString(s.Text)
	if s.Stamped {
		w.WriteString(" @")
	}
	last := len(s.Values)
	for last > 1 && s.Values[last-1] == s.Values[last-2] {
		last--
	}
	before := ""
	for i, v := range s.Values[:last] {
		switch {
		case v == "":
			w.WriteString(" -")
		case i > 0 && v == before:
			w.WriteString(" =")
		default:
			w.WriteString(" " + v)
		}
		if v != "" {
			before = v
		}
	}
	if s.Stamped {
		// The number of distinct timestamps is the series' own.
		fmt.Fprintf(w, " x%d", len(s.Values))
	}
	w.WriteByte('\n')
}

// Read is the inverse of Write.
func Read(r io.Reader) (*Recording, error) {
	z, err := zstd.NewReader(r)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	rec := &Recording{}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		return nil, fmt.Errorf("empty recording: %w", lines.Err())
	}
	if _, err := fmt.Sscanf(lines.Text(), "# SCRAPES %d", &rec.Scrapes); err != nil {
		return nil, fmt.Errorf("first line %q: want \"# SCRAPES n\"", lines.Text())
	}
	header := ""
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			header += line + "\n"
			continue
		}
		if header != "" || len(rec.Families) == 0 {
			rec.Families = append(rec.Families, Family{Header: header, Type: typeOf(header)})
			header = ""
		}
		s, err := readSeries(line, rec.Scrapes)
		if err != nil {
			return nil, err
		}
		f := &rec.Families[len(rec.Families)-1]
		f.Series = append(f.Series, s)
	}
	return rec, lines.Err()
}

func readSeries(line string, scrapes int) (Series, error) {
	end := strings.IndexByte(line, ' ')
	if brace := strings.IndexByte(line, '{'); brace >= 0 && brace < end {
		end = labelsEnd(line, brace)
	}
	if end <= 0 {
		return Series{}, fmt.Errorf("no value in line %q", line)
	}
	s := Series{Text: line[:end]}
	fields := strings.Fields(line[end:])
	if len(fields) > 2 && fields[0] == "@" {
		s.Stamped = true
		if _, err := fmt.Sscanf(fields[len(fields)-1], "x%d", &scrapes); err != nil {
			return Series{}, fmt.Errorf("line %q does not end in its number of values: %w", line, err)
		}
		fields = fields[1 : len(fields)-1]
	}
	before := ""
	for _, v := range fields {
		switch v {
		case "-":
			s.Values = append(s.Values, "")
			continue
		case "=":
			v = before
		}
		s.Values = append(s.Values, v)
		before = v
	}
	if len(s.Values) == 0 || len(s.Values) > scrapes {
		return Series{}, fmt.Errorf("line %q has %d values of %d", line, len(s.Values), scrapes)
	}
	for len(s.Values) < scrapes {
		s.Values = append(s.Values, s.Values[len(s.Values)-1])
	}
	return s, nil
}
