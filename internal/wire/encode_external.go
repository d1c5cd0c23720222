package wire

import (
	"cmp"
	"slices"

	"github.com/mangru/mangru/internal/model"
)

// external is the labels that every series of an endpoint gets unless it has one
// of that name, and where they go among the labels of the present target.
//
// A label number's rank is twice the count of external labels that sort before
// it, plus one if there is one of the same name. Within a series ranks only
// grow, and where they do, external labels have their place.
type external struct {
	labels []model.Label // sorted by name
	target model.Labels
	ranks  []uint32 // by label number, plus one; 0 is not known yet
}

// newExternal sorts the labels. Those without a value are no labels.
func newExternal(list []model.Label) external {
	var x external
	for _, l := range list {
		if l.Value != "" {
			x.labels = append(x.labels, l)
		}
	}
	slices.SortFunc(x.labels, func(a, b model.Label) int { return cmp.Compare(a.Name, b.Name) })
	return x
}

// reset makes the label numbers those of another list.
func (x *external) reset(l model.Labels) {
	if len(x.labels) == 0 {
		return
	}
	x.target = l
	n := l.Distinct()
	x.ranks = slices.Grow(x.ranks[:0], n)[:n]
	clear(x.ranks)
}

func (x *external) rank(number int) uint32 {
	if r := x.ranks[number]; r != 0 {
		return r - 1
	}
	name, _ := x.target.Label(number)
	i := 0
	for i < len(x.labels) && x.labels[i].Name < string(name) {
		i++
	}
	r := uint32(2 * i)
	if i < len(x.labels) && x.labels[i].Name == string(name) {
		r++
	}
	x.ranks[number] = r + 1
	return r
}

// place says what is to be written next of a run: the external labels below
// before, then n labels of the run, and from there on the external labels below
// after are done with.
func (x *external) place(first, count int) (before, n, after int) {
	r := x.rank(first)
	for n = 1; n < count && x.rank(first+n) == r; n++ {
	}
	return int(r / 2), n, int(r+1) / 2
}
