package rewrite

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/mangru/mangru/internal/model"
)

// Attributes is what the attributes processor does to data points and the
// resource processor to resources.
type Attributes struct {
	Resource bool
	Actions  []Action
	// Include and Exclude choose the metrics, by name; nil chooses all, or none.
	Include, Exclude *Match
}

// Action is one change of attributes.
type Action struct {
	Kind ActionKind
	// Key is the attribute; it may be empty where there is a Pattern.
	Key string
	// Value is the new value, unless From names an attribute to take it from.
	// Default is used where that one is missing.
	Value, From, Default string
	// Pattern matches keys anywhere for Delete and Hash, and is what Extract
	// takes its named groups from.
	Pattern *regexp.Regexp
	// To is the type for Convert: "string", "int" or "double".
	To string
}

// ActionKind says what an action does.
type ActionKind string

// The actions.
const (
	Insert  ActionKind = "insert"  // only where the attribute is missing
	Update  ActionKind = "update"  // only where it is there
	Upsert  ActionKind = "upsert"  // in any case
	Delete  ActionKind = "delete"  //
	Hash    ActionKind = "hash"    // replace the value by its SHA-256
	Extract ActionKind = "extract" // named groups become attributes
	Convert ActionKind = "convert" // the text of another type
)

// ActionKinds returns the names of all actions.
func ActionKinds() []string {
	return []string{string(Insert), string(Update), string(Upsert), string(Delete), string(Hash), string(Extract), string(Convert)}
}

// Apply changes the attributes.
func (s Attributes) Apply(b *labels.Builder, f model.Family) bool {
	m := metricOf(b, f)
	if s.Include != nil && !s.Include.name(m.name) || s.Exclude != nil && s.Exclude.name(m.name) {
		return true
	}
	a := attributes{b: b, m: m, resource: s.Resource}
	for _, action := range s.Actions {
		action.apply(a)
	}
	return true
}

func (s Action) apply(a attributes) {
	switch s.Kind {
	case Insert, Update, Upsert:
		there := a.get(s.Key) != ""
		if v := s.value(a); v != "" && (s.Kind == Upsert || there == (s.Kind == Update)) {
			a.set(s.Key, v)
		}
	case Delete:
		s.each(a, func(string) string { return "" })
	case Hash:
		s.each(a, func(v string) string {
			sum := sha256.Sum256([]byte(v))
			return hex.EncodeToString(sum[:])
		})
	case Extract:
		groups := s.Pattern.FindStringSubmatch(a.get(s.Key))
		for i := 1; i < len(groups); i++ {
			a.set(s.Pattern.SubexpNames()[i], groups[i])
		}
	case Convert:
		if v := a.get(s.Key); v != "" {
			a.set(s.Key, convert(v, s.To))
		}
	}
}

func (s Action) value(a attributes) string {
	v := s.Value
	if s.From != "" {
		v = a.get(s.From)
	}
	if v == "" {
		v = s.Default
	}
	return v
}

// each changes the values of the attributes that the key or the pattern names.
func (s Action) each(a attributes, change func(string) string) {
	if v := a.get(s.Key); s.Key != "" && v != "" {
		a.set(s.Key, change(v))
	}
	if s.Pattern == nil {
		return
	}
	a.each(func(key, value string) {
		if s.Pattern.MatchString(key) {
			a.set(key, change(value))
		}
	})
}

// convert returns the text that a value has as another type, or the value itself
// if it is not one of that type.
func convert(v, to string) string {
	switch to {
	case "int":
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	case "double":
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return FormatDouble(n)
		}
	}
	return v
}

// FormatDouble writes a number as an attribute's value is written.
func FormatDouble(v float64) string {
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) && !math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func (s Attributes) touches() touch {
	var t touch
	for _, a := range s.Actions {
		if !s.Resource {
			return writesSeries
		}
		if a.From != "" {
			t |= touchOfRead(a.From)
		}
		switch {
		case a.Pattern != nil:
			// Which attributes there are decides what happens.
			t |= writesResource | writesIdentity | readsResource
		default:
			t |= touchOfKey(a.Key)
		}
	}
	return t
}

func (s Attributes) names() []string {
	if s.Resource {
		return nil
	}
	return s.keys()
}

func (s Attributes) resourceKeys() []string {
	if !s.Resource {
		return nil
	}
	return s.keys()
}

// keys are those of the attributes that the actions may add.
func (s Attributes) keys() []string {
	var keys []string
	for _, a := range s.Actions {
		switch a.Kind {
		case Insert, Update, Upsert:
			keys = append(keys, a.Key)
		case Extract:
			keys = append(keys, a.Pattern.SubexpNames()[1:]...)
		}
	}
	return keys
}

func (s Attributes) resourceReads() []string {
	var keys []string
	for _, a := range s.Actions {
		if s.Resource && a.From != "" {
			keys = append(keys, a.From)
		}
	}
	return keys
}

func (s Attributes) onResource() Step {
	if !s.Resource {
		return nil
	}
	return s
}

// Match chooses metrics by name, by attributes of their resource, or by both.
type Match struct {
	// Names and NamePatterns choose a metric if one of them does; both empty
	// choose all. Patterns match anywhere in the name.
	Names        []string
	NamePatterns []*regexp.Regexp
	// Resource are attributes that must all be there.
	Resource []AttributeMatch
}

// AttributeMatch chooses a resource by one attribute.
type AttributeMatch struct {
	Key string
	// Value is what the attribute must be, Pattern what must match anywhere in it;
	// without either, it must only be there.
	Value   string
	Pattern *regexp.Regexp
}

func (m *Match) byName() bool { return len(m.Names) > 0 || len(m.NamePatterns) > 0 }

func (m *Match) name(name string) bool {
	return !m.byName() || slices.Contains(m.Names, name) ||
		slices.ContainsFunc(m.NamePatterns, func(re *regexp.Regexp) bool { return re.MatchString(name) })
}

func (m *Match) resource(a attributes) bool {
	return !slices.ContainsFunc(m.Resource, func(r AttributeMatch) bool {
		v := a.get(r.Key)
		return v == "" || r.Value != "" && v != r.Value || r.Pattern != nil && !r.Pattern.MatchString(v)
	})
}

func (m *Match) touches() touch {
	var t touch
	for _, r := range m.Resource {
		t |= touchOfRead(r.Key)
	}
	return t
}

// Filter drops metrics by name and resource, as the filter processor's include and
// exclude do: what Include does not choose goes, and what Exclude chooses.
type Filter struct {
	Include, Exclude *Match
}

// Apply drops the series if its metric is not wanted.
func (s Filter) Apply(b *labels.Builder, f model.Family) bool {
	m := metricOf(b, f)
	resource := attributes{b: b, m: m, resource: true}
	if s.Include != nil && (!s.Include.name(m.name) || !s.Include.resource(resource)) {
		return false
	}
	// Unlike in Include, a name and a resource each suffice in Exclude.
	return s.Exclude == nil || !(s.Exclude.byName() && s.Exclude.name(m.name) ||
		len(s.Exclude.Resource) > 0 && s.Exclude.resource(resource))
}

func (s Filter) touches() touch {
	t := writesSeries
	for _, m := range []*Match{s.Include, s.Exclude} {
		if m != nil {
			t |= m.touches()
		}
	}
	return t
}

func (Filter) names() []string { return nil }

func (s Filter) resourceReads() []string {
	var keys []string
	for _, m := range []*Match{s.Include, s.Exclude} {
		if m == nil {
			continue
		}
		for _, r := range m.Resource {
			keys = append(keys, r.Key)
		}
	}
	return keys
}

// onResource returns what of the filter has to do with the resource alone.
func (s Filter) onResource() Step {
	var only Filter
	if s.Include != nil && len(s.Include.Resource) > 0 {
		only.Include = &Match{Resource: s.Include.Resource}
	}
	if s.Exclude != nil && len(s.Exclude.Resource) > 0 {
		only.Exclude = &Match{Resource: s.Exclude.Resource}
	}
	if only == (Filter{}) {
		return nil
	}
	return only
}
