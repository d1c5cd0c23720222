package model

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func randomSeries(n int) (out [][]Label) {
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		ls := []Label{{"__name__", fmt.Sprint("metric_", r.IntN(30))}, {"instance", "a:1"}, {"job", "j"}}
		for i := range r.IntN(4) {
			ls = append(ls, Label{fmt.Sprint("l", i), fmt.Sprint(r.IntN(200))})
		}
		if r.IntN(50) == 0 {
			ls = append(ls, Label{"long", fmt.Sprintf("%0300d", r.IntN(3))})
		}
		slices.SortFunc(ls, func(a, b Label) int {
			if a.Name < b.Name {
				return -1
			}
			return 1
		})
		out = append(out, ls)
	}
	return out
}

func checkSeries(t *testing.T, l Labels, want [][]Label) {
	t.Helper()
	if l.Len() != len(want) {
		t.Fatalf("%d series, want %d", l.Len(), len(want))
	}
	for i := range want {
		if got := l.Append(nil, i); !reflect.DeepEqual(got, want[i]) {
			t.Fatalf("series %d is %v, want %v", i, got, want[i])
		}
	}
}

func TestLabels(t *testing.T) {
	want := randomSeries(3000)
	var b LabelsBuilder
	var early Labels
	for i, ls := range want {
		if got := b.Append(ls); got != i {
			t.Fatalf("series %d got number %d", i, got)
		}
		if i == 999 {
			early = b.Labels()
			b.Rest()
		}
	}
	checkSeries(t, early, want[:1000])
	checkSeries(t, b.Labels(), want)
	if n := b.Labels().Distinct(); n > 30+2+800+3 {
		t.Errorf("%d distinct labels: labels are there twice", n)
	}
	stored := b.Labels().MarshalAppend([]byte("before"))
	back, rest, err := UnmarshalLabels(append(stored, "after"...)[len("before"):])
	if err != nil || string(rest) != "after" {
		t.Fatalf("rest %q, err %v", rest, err)
	}
	checkSeries(t, back, want)
}

func TestPacked(t *testing.T) {
	var room Room
	for _, n := range []int{0, 1, 2, 30, 3000} {
		want := randomSeries(n)
		if n > 2 {
			want[1] = nil
		}
		var b LabelsBuilder
		for _, ls := range want {
			b.Append(ls)
		}
		open := b.Labels()
		if b.Rest(); b.Awake() {
			t.Fatal("it is awake")
		}
		l := b.Labels()
		if l.Packed() != (n >= 30) {
			t.Errorf("%d series, packed: %v", n, l.Packed())
		}
		if n >= 30 && l.Bytes() > open.Bytes()*3/5 {
			t.Errorf("%d series take %d bytes packed, %d open", n, l.Bytes(), open.Bytes())
		}
		if l.Distinct() != open.Distinct() || !l.Extends(open) || l.Extends(early(n)) {
			t.Errorf("%d series: %d distinct labels, want %d", n, l.Distinct(), open.Distinct())
		}
		for range 2 {
			checkSeries(t, l.Open(&room), want)
		}
		more := []Label{{"__name__", "another"}}
		if at, added := b.Add(more); at != n || !added || !b.Awake() {
			t.Fatalf("added as %d: %v", at, added)
		}
		checkSeries(t, b.Labels().Open(&room), append(want[:n:n], more))
		checkSeries(t, l.Open(&room), want)
		stored, _, err := UnmarshalLabels(l.MarshalAppend(nil))
		if err != nil || stored.Extends(l) {
			t.Fatal("stored: ", err)
		}
		checkSeries(t, stored, want)
	}
}

// early is a list of another builder.
func early(n int) Labels {
	var b LabelsBuilder
	for _, ls := range randomSeries(n) {
		b.Append(ls)
	}
	return b.Labels()
}

func TestOpenAllocatesNothing(t *testing.T) {
	var lists [2]Labels
	for i := range lists {
		var b LabelsBuilder
		for _, ls := range randomSeries(1000 + i) {
			b.Append(ls)
		}
		b.Rest()
		lists[i] = b.Labels()
	}
	var room Room
	if n := testing.AllocsPerRun(20, func() {
		lists[1].Open(&room)
		lists[0].Open(&room)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOpen(b *testing.B) {
	var builder LabelsBuilder
	for _, ls := range randomSeries(2000) {
		builder.Append(ls)
	}
	before := builder.Labels().Bytes()
	builder.Rest()
	l := builder.Labels()
	var rooms [1]Room
	for b.Loop() {
		rooms[0].of = nil
		l.Open(&rooms[0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/series")
	b.ReportMetric(float64(l.Bytes())/2000, "B/series")
	b.ReportMetric(float64(before)/2000, "B/series-open")
}

func TestLabelsAdd(t *testing.T) {
	var b LabelsBuilder
	known := map[string]int{}
	for i, ls := range randomSeries(5000) {
		key := fmt.Sprint(ls)
		was, have := known[key]
		if found := b.Find(ls); have && found != was || !have && found != -1 {
			t.Fatalf("found series %d, want %d (known: %v)", found, was, have)
		}
		n, added := b.Add(ls)
		if added == have || have && n != was {
			t.Fatalf("series %d, added %v; want %d, known %v", n, added, was, have)
		}
		known[key] = n
		if i%999 == 0 {
			b.Rest()
		}
	}
	if b.Len() != len(known) {
		t.Fatalf("%d series, want %d", b.Len(), len(known))
	}
}

func TestLabelsEmpty(t *testing.T) {
	var b LabelsBuilder
	b.Append(nil)
	checkSeries(t, b.Labels(), [][]Label{nil})
	l, rest, err := UnmarshalLabels(Labels{}.MarshalAppend(nil))
	if err != nil || len(rest) != 0 || l.Len() != 0 {
		t.Fatalf("%v, rest %q, err %v", l, rest, err)
	}
}

func FuzzUnmarshalLabels(f *testing.F) {
	var b LabelsBuilder
	for _, ls := range randomSeries(5) {
		b.Append(ls)
	}
	f.Add(b.Labels().MarshalAppend(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		l, _, err := UnmarshalLabels(in)
		if err != nil {
			return
		}
		var all [][]Label
		for i := range l.Len() {
			all = append(all, l.Append(nil, i))
			if len(all[i]) > 1<<16 {
				return // runs may overlap and repeat; that is long, not wrong
			}
		}
		again, rest, err := UnmarshalLabels(l.MarshalAppend(nil))
		if err != nil || len(rest) != 0 {
			t.Fatalf("reading it back: %v, rest %q", err, rest)
		}
		checkSeries(t, again, all)
		checkSeries(t, l.pack().Open(nil), all)
	})
}
