package discover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// Duplicate is one address, path and parameters that are scraped more than once.
type Duplicate struct {
	URL string `json:"url"`
	// Jobs are in the order of the configuration; one that has the target twice
	// by itself, under different labels, is named once.
	Jobs []string `json:"jobs"`
	// Dropped says that only the first target is scraped.
	Dropped bool `json:"onlyFirst"`
}

// String names the jobs.
func (d Duplicate) String() string {
	return fmt.Sprintf("%s by jobs %s", d.URL, strings.Join(d.Jobs, ", "))
}

// maxDuplicates bounds the duplicates that are kept for people to see. All are
// counted, and dropped if so asked.
const maxDuplicates = 1000

// duplicates finds what is scraped more than once, by several jobs or by one
// under different labels (two annotated services before the same pods). With
// firstWins it leaves the first target only. All replicas find the same.
func duplicates(jobs []Job, lists [][]found, firstWins bool) (dups []Duplicate, surplus int) {
	n := 0
	for _, l := range lists {
		n += len(l)
	}
	owner := make(map[uint64]int32, n) // the first job by URL
	at := make(map[uint64]int)         // place in dups by URL
	for i := range jobs {
		j := &jobs[i]
		drop := func(f found) bool {
			first, taken := owner[f.url]
			if !taken {
				owner[f.url] = int32(i)
				return false
			}
			surplus++
			k, ok := at[f.url]
			if !ok && len(dups) < maxDuplicates {
				k, ok = len(dups), true
				at[f.url] = k
				dups = append(dups, Duplicate{URL: f.location(j), Jobs: []string{jobs[first].Config.JobName}, Dropped: firstWins})
			}
			if ok {
				if d := &dups[k]; d.Jobs[len(d.Jobs)-1] != j.Config.JobName {
					d.Jobs = append(d.Jobs, j.Config.JobName)
				}
			}
			if firstWins {
				j.drop(origin{j.Config, f.group, f.index}, ReasonDuplicate)
			}
			return firstWins
		}
		lists[i] = slices.DeleteFunc(lists[i], drop)
	}
	return dups, surplus
}

// location returns the target's URL.
func (f *found) location(j *Job) string {
	if f.made != nil {
		return f.made.URL
	}
	o := origin{j.Config, f.group, f.index}
	ls, err := o.relabel(labels.NewBuilder(labels.EmptyLabels()))
	if err != nil {
		return "" // cannot be: it was let through before
	}
	return o.url(ls)
}
