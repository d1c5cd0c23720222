package grafanaapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/mangru/mangru/internal/dashboard/alerting"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// versioned are things with the versions that their clients send back; fields
// points to a thing's name and its version.
func versioned[T any](list []T, fields func(*T) (name, version *string)) []T {
	out := make([]T, 0, len(list)) // [] in JSON where there are none
	for _, t := range list {
		_, version := fields(&t)
		*version = versionOf(t)
		out = append(out, t)
	}
	return out
}

// versionedOne is the one of a path's name.
func versionedOne[T any](c *call, list []T, fields func(*T) (name, version *string), missing string) (any, error) {
	for _, t := range versioned(list, fields) {
		if name, _ := fields(&t); *name == c.PathValue("name") {
			return t, nil
		}
	}
	return nil, fail(http.StatusNotFound, missing)
}

func timingFields(t *alerting.MuteTiming) (name, version *string) { return &t.Name, &t.Version }

func templateFields(t *alerting.Template) (name, version *string) { return &t.Name, &t.Version }

func (a *api) listTimings(c *call) (any, error) {
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	return versioned(n.Timings, timingFields), nil
}

func (a *api) getTiming(c *call) (any, error) {
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	return versionedOne(c, n.Timings, timingFields, "mute timing not found")
}

func (a *api) createTiming(c *call) (any, error) { return a.putTiming(c, "") }

func (a *api) updateTiming(c *call) (any, error) { return a.putTiming(c, c.PathValue("name")) }

// putTiming makes a mute timing, or changes the one that is called old.
func (a *api) putTiming(c *call, old string) (any, error) {
	var in alerting.MuteTiming
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if old != "" && in.Name == "" {
		in.Name = old
	}
	if err := in.Check(); err != nil {
		return nil, badAlerting(err)
	}
	if old != "" && in.Name != old {
		return nil, fail(http.StatusBadRequest, "name: a mute timing keeps its name, policies know it by that")
	}
	defer a.changing(c)()
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	seen := in.Version
	in.Version, in.Provenance = "", provenance(c)
	i := slices.IndexFunc(n.Timings, func(t alerting.MuteTiming) bool { return t.Name == in.Name })
	d, status := &records.Document{WorkspaceID: c.ws, Kind: records.KindMuteTiming, Name: in.Name}, http.StatusCreated
	switch {
	case old == "" && i >= 0:
		return nil, fail(http.StatusConflict, fmt.Sprintf("a mute timing %q exists already", in.Name))
	case old != "" && i < 0:
		return nil, fail(http.StatusNotFound, "mute timing not found")
	case old != "":
		if seen != "" && seen != versionOf(n.Timings[i]) {
			return nil, fail(http.StatusConflict, "the mute timing has been changed by someone else")
		}
		n.Timings[i], status = in, http.StatusAccepted
		if d, err = a.named(c, records.KindMuteTiming, old); err != nil {
			return nil, err
		}
	default:
		n.Timings = append(n.Timings, in)
		d.UID = records.NewUID()
	}
	d.Data = jsonText(in)
	if err := a.keepNotification(c, n, d); err != nil {
		return nil, err
	}
	in.Version = versionOf(in)
	return reply{status, in}, nil
}

func (a *api) deleteTiming(c *call) (any, error) {
	defer a.changing(c)()
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	name := c.PathValue("name")
	if n.Policies != nil && n.Policies.UsesTiming(name) {
		return nil, fail(http.StatusConflict, fmt.Sprintf("mute timing %q is currently used by a notification policy", name))
	}
	d, err := a.named(c, records.KindMuteTiming, name)
	if errors.Is(err, records.ErrNotFound) {
		return noContent(c) // as Grafana answers
	}
	if err != nil {
		return nil, err
	}
	n.Timings = slices.DeleteFunc(n.Timings, func(t alerting.MuteTiming) bool { return t.Name == name })
	if err := a.dropNotification(c, n, records.KindMuteTiming, d.UID); err != nil {
		return nil, err
	}
	return noContent(c)
}

func (a *api) listTemplates(c *call) (any, error) {
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	return versioned(n.Templates, templateFields), nil
}

func (a *api) getTemplate(c *call) (any, error) {
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	return versionedOne(c, n.Templates, templateFields, "template not found")
}

func (a *api) putTemplate(c *call) (any, error) {
	var in alerting.Template
	if err := c.body(&in); err != nil {
		return nil, err
	}
	in.Name = c.PathValue("name")
	if err := in.Check(); err != nil {
		return nil, badAlerting(err)
	}
	defer a.changing(c)()
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	seen := in.Version
	in.Version, in.Provenance = "", provenance(c)
	d, err := a.named(c, records.KindTemplate, in.Name)
	switch i := slices.IndexFunc(n.Templates, func(t alerting.Template) bool { return t.Name == in.Name }); {
	case errors.Is(err, records.ErrNotFound):
		d = &records.Document{WorkspaceID: c.ws, Kind: records.KindTemplate, UID: records.NewUID(), Name: in.Name}
		n.Templates = append(n.Templates, in)
	case err != nil:
		return nil, err
	case seen != "" && seen != versionOf(n.Templates[i]):
		return nil, fail(http.StatusConflict, "the template has been changed by someone else")
	default:
		n.Templates[i] = in
	}
	d.Data = jsonText(in)
	if err := a.keepNotification(c, n, d); err != nil {
		return nil, err
	}
	in.Version = versionOf(in)
	return reply{http.StatusAccepted, in}, nil
}

func (a *api) deleteTemplate(c *call) (any, error) {
	defer a.changing(c)()
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	d, err := a.named(c, records.KindTemplate, c.PathValue("name"))
	if errors.Is(err, records.ErrNotFound) {
		return noContent(c) // as Grafana answers
	}
	if err != nil {
		return nil, err
	}
	n.Templates = slices.DeleteFunc(n.Templates, func(t alerting.Template) bool { return t.Name == d.Name })
	if err := a.dropNotification(c, n, records.KindTemplate, d.UID); err != nil {
		return nil, err
	}
	return noContent(c)
}
