package grafanaapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mangru/mangru/internal/dashboard/alerting"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// notificationRoutes are what the alert managers of workspaces are told by. They
// are kept as they were sent, and written whole as the definition of each alert
// manager that gets alerts of provisioned rules, and of the default data source's.
func notificationRoutes() []route {
	const p = "/api/v1/provisioning/"
	return []route{
		{"GET " + p + "contact-points", editors, (*api).listContacts},
		{"POST " + p + "contact-points", admins, (*api).createContact},
		{"GET " + p + "contact-points/export", editors, (*api).exportContacts},
		{"PUT " + p + "contact-points/{uid}", admins, (*api).updateContact},
		{"DELETE " + p + "contact-points/{uid}", admins, (*api).deleteContact},
		{"GET " + p + "policies", editors, (*api).getPolicies},
		{"PUT " + p + "policies", admins, (*api).putPolicies},
		{"DELETE " + p + "policies", admins, (*api).resetPolicies},
		{"GET " + p + "policies/export", editors, (*api).exportPolicies},
		{"GET " + p + "mute-timings", editors, (*api).listTimings},
		{"POST " + p + "mute-timings", admins, (*api).createTiming},
		{"GET " + p + "mute-timings/export", editors, (*api).exportTimings},
		{"GET " + p + "mute-timings/{name}", editors, (*api).getTiming},
		{"PUT " + p + "mute-timings/{name}", admins, (*api).updateTiming},
		{"DELETE " + p + "mute-timings/{name}", admins, (*api).deleteTiming},
		{"GET " + p + "mute-timings/{name}/export", editors, (*api).exportTimings},
		{"GET " + p + "templates", editors, (*api).listTemplates},
		{"GET " + p + "templates/{name}", editors, (*api).getTemplate},
		{"PUT " + p + "templates/{name}", admins, (*api).putTemplate},
		{"DELETE " + p + "templates/{name}", admins, (*api).deleteTemplate},
	}
}

// notifications reads everything that is kept; secrets are in the clear.
func (a *api) notifications(c *call) (*alerting.Notifications, error) {
	n := &alerting.Notifications{}
	for _, kind := range []string{records.KindContactPoint, records.KindPolicies, records.KindMuteTiming, records.KindTemplate} {
		docs, err := a.Store.Documents(c.Context(), c.ws, kind, nil)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(docs, func(x, y *records.Document) int { return int(x.ID - y.ID) })
		for _, d := range docs {
			if err := a.readNotification(n, d); err != nil {
				return nil, fmt.Errorf("%s %s: %w", kind, d.UID, err)
			}
		}
	}
	slices.SortStableFunc(n.Contacts, func(x, y alerting.Contact) int { return strings.Compare(x.Name, y.Name) })
	slices.SortFunc(n.Timings, func(x, y alerting.MuteTiming) int { return strings.Compare(x.Name, y.Name) })
	slices.SortFunc(n.Templates, func(x, y alerting.Template) int { return strings.Compare(x.Name, y.Name) })
	return n, nil
}

func (a *api) readNotification(n *alerting.Notifications, d *records.Document) error {
	switch d.Kind {
	case records.KindContactPoint:
		var p alerting.Contact
		if err := json.Unmarshal(d.Data, &p); err != nil {
			return err
		}
		n.Contacts = append(n.Contacts, p)
		return p.EachSecret(func(name, sealed string) (string, error) {
			return a.Store.Open(sealed, d.WorkspaceID+"/"+d.UID+"/"+name)
		})
	case records.KindPolicies:
		return json.Unmarshal(d.Data, &n.Policies)
	case records.KindMuteTiming:
		var t alerting.MuteTiming
		err := json.Unmarshal(d.Data, &t)
		n.Timings = append(n.Timings, t)
		return err
	default:
		var t alerting.Template
		err := json.Unmarshal(d.Data, &t)
		n.Templates = append(n.Templates, t)
		return err
	}
}

// tell writes the definition of every alert manager that is told from here, and
// then keeps what has changed. Where that or one of them refuses, those before get
// back what they had.
func (a *api) tell(c *call, n *alerting.Notifications, keep func() error) error {
	text, err := n.Definition(c.ws)
	if err != nil {
		return badAlerting(err)
	}
	list, err := a.alertManagers(c)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fail(http.StatusBadRequest, "there is no alert manager to tell: no data source of this workspace is a workspace of Managed Prometheus")
	}
	had := make([][]byte, len(list))
	for i, d := range list {
		old, err := a.read(c.Context(), d, definitionPath)
		if err != nil {
			return err
		}
		if old != nil {
			if owner, ours := alerting.Owner(old.Data); !ours {
				return fail(http.StatusConflict, fmt.Sprintf("the alert manager behind data source %s has a definition that was not written by this API and would be lost: delete it first (aws amp delete-alert-manager-definition)", d.Name))
			} else if owner != c.ws {
				return fail(http.StatusConflict, fmt.Sprintf("the alert manager behind data source %s is told by dashboard workspace %s", d.Name, owner))
			}
			had[i] = old.Data
		}
	}
	for i, d := range list {
		if err := a.write(c.Context(), d, definitionPath, "", text); err != nil {
			a.putBackDefinitions(c, list[:i], had)
			return err
		}
	}
	if err := keep(); err != nil {
		a.putBackDefinitions(c, list, had)
		return err
	}
	return nil
}

func (a *api) putBackDefinitions(c *call, list []*records.DataSource, had [][]byte) {
	c, cancel := c.carriedOn()
	defer cancel()
	for i, d := range list {
		if err := a.write(c.Context(), d, definitionPath, "", had[i]); err != nil {
			a.log.Error("an alert manager has another definition than the one that is kept, until the next change", "workspace", c.ws, "source", d.Name, "err", err)
		}
	}
}

// alertManagers are the data sources whose workspaces' alert managers are told
// from here, one each: of provisioned rules, and the default one.
func (a *api) alertManagers(c *call) ([]*records.DataSource, error) {
	sources, err := a.Store.DataSources(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	rules, err := a.rulesWhere(c.Context(), c.ws, func(*ruleRecord) bool { return true })
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(sources, func(x, y *records.DataSource) int {
		switch {
		case x.IsDefault == y.IsDefault:
			return 0
		case x.IsDefault:
			return -1
		default:
			return 1
		}
	})
	var out []*records.DataSource
	seen := map[string]bool{}
	for _, d := range sources {
		address := strings.TrimSuffix(d.URL, "/")
		used := slices.ContainsFunc(rules, func(r ruleRecord) bool { return r.Source == d.UID })
		if seen[address] || a.Sources.Managed(d) != nil || len(out) > 0 && !used {
			continue
		}
		seen[address] = true
		out = append(out, d)
	}
	return out, nil
}

// keepNotification tells the alert managers of n and keeps d.
func (a *api) keepNotification(c *call, n *alerting.Notifications, d *records.Document) error {
	return a.tell(c, n, func() error { return a.Store.PutDocument(c.Context(), d) })
}

func (a *api) dropNotification(c *call, n *alerting.Notifications, kind, uid string) error {
	return a.tell(c, n, func() error {
		err := a.Store.DeleteDocument(c.Context(), c.ws, kind, uid)
		if errors.Is(err, records.ErrNotFound) {
			return nil
		}
		return err
	})
}

// contactBody is a contact point without its secrets.
func contactBody(p alerting.Contact) (alerting.Contact, error) {
	text := jsonText(p)
	var out alerting.Contact
	if err := json.Unmarshal(text, &out); err != nil {
		return out, err
	}
	return out, out.EachSecret(func(string, string) (string, error) { return alerting.Redacted, nil })
}

func (a *api) listContacts(c *call) (any, error) {
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	name, out := c.URL.Query().Get("name"), []alerting.Contact{}
	for _, p := range n.Contacts {
		if name != "" && p.Name != name {
			continue
		}
		body, err := contactBody(p)
		if err != nil {
			return nil, err
		}
		out = append(out, body)
	}
	return out, nil
}

func (a *api) createContact(c *call) (any, error) {
	var in alerting.Contact
	if err := c.body(&in); err != nil {
		return nil, err
	}
	defer a.changing(c)()
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	if in.UID == "" {
		in.UID = records.NewUID()
	} else if slices.ContainsFunc(n.Contacts, func(p alerting.Contact) bool { return p.UID == in.UID }) {
		return nil, fail(http.StatusBadRequest, "a contact point with the uid "+in.UID+" exists already")
	}
	n.Contacts = append(n.Contacts, in)
	body, err := a.saveContact(c, n, in)
	return reply{http.StatusAccepted, body}, err
}

func (a *api) saveContact(c *call, n *alerting.Notifications, in alerting.Contact) (alerting.Contact, error) {
	in.Provenance = provenance(c)
	body, err := contactBody(in)
	if err != nil {
		return body, err
	}
	if err := in.Check(); err != nil {
		return body, badAlerting(err)
	}
	return body, a.tell(c, n, func() error {
		err := in.EachSecret(func(name, plain string) (string, error) { return a.Store.Seal(plain, c.ws+"/"+in.UID+"/"+name), nil })
		if err != nil {
			return err
		}
		return a.Store.PutDocument(c.Context(), &records.Document{WorkspaceID: c.ws, Kind: records.KindContactPoint, UID: in.UID, Name: in.Name, Data: jsonText(in)})
	})
}

var errContactNotFound = fail(http.StatusNotFound, "contact point not found")

func (a *api) updateContact(c *call) (any, error) {
	var in alerting.Contact
	if err := c.body(&in); err != nil {
		return nil, err
	}
	defer a.changing(c)()
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(n.Contacts, func(p alerting.Contact) bool { return p.UID == c.PathValue("uid") })
	if i < 0 {
		return nil, errContactNotFound
	}
	in.UID = n.Contacts[i].UID
	was := map[string]string{}
	if err := n.Contacts[i].EachSecret(func(name, v string) (string, error) { was[name] = v; return v, nil }); err != nil {
		return nil, err
	}
	err = in.EachSecret(func(name, v string) (string, error) {
		if v == alerting.Redacted {
			v = was[name]
		}
		return v, nil
	})
	if err != nil {
		return nil, err
	}
	n.Contacts[i] = in
	if _, err := a.saveContact(c, n, in); err != nil {
		return nil, err
	}
	return reply{http.StatusAccepted, message("contactpoint updated")}, nil
}

func (a *api) deleteContact(c *call) (any, error) {
	defer a.changing(c)()
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	uid := c.PathValue("uid")
	i := slices.IndexFunc(n.Contacts, func(p alerting.Contact) bool { return p.UID == uid })
	if i < 0 {
		return nil, errContactNotFound
	}
	name := n.Contacts[i].Name
	n.Contacts = slices.Delete(n.Contacts, i, i+1)
	more := slices.ContainsFunc(n.Contacts, func(p alerting.Contact) bool { return p.Name == name })
	if !more && n.Policies != nil && n.Policies.Uses(name) {
		return nil, fail(http.StatusConflict, fmt.Sprintf("contact point %q is currently used by a notification policy", name))
	}
	if err := a.dropNotification(c, n, records.KindContactPoint, uid); err != nil {
		return nil, err
	}
	return reply{http.StatusAccepted, message("contactpoint deleted")}, nil
}

// policiesUID is where the one tree of policies is kept.
const policiesUID = "root"

func (a *api) getPolicies(c *call) (any, error) {
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	if n.Policies == nil {
		return alerting.DefaultRoute(), nil
	}
	return n.Policies, nil
}

func (a *api) putPolicies(c *call) (any, error) {
	in := &alerting.Route{}
	if err := c.body(in); err != nil {
		return nil, err
	}
	defer a.changing(c)()
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	in.Provenance, n.Policies = provenance(c), in
	err = a.keepNotification(c, n, &records.Document{WorkspaceID: c.ws, Kind: records.KindPolicies, UID: policiesUID, Data: jsonText(in)})
	return reply{http.StatusAccepted, message("policies updated")}, err
}

func (a *api) resetPolicies(c *call) (any, error) {
	defer a.changing(c)()
	n, err := a.notifications(c)
	if err != nil {
		return nil, err
	}
	n.Policies = nil
	return reply{http.StatusAccepted, alerting.DefaultRoute()}, a.dropNotification(c, n, records.KindPolicies, policiesUID)
}

// named finds the document of a mute timing or template by its name, which may
// have any letters.
func (a *api) named(c *call, kind, name string) (*records.Document, error) {
	docs, err := a.Store.Documents(c.Context(), c.ws, kind, nil)
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		if d.Name == name {
			return d, nil
		}
	}
	return nil, records.ErrNotFound
}

// versionOf is what a client has to send back to change what it has seen.
func versionOf(v any) string {
	sum := sha256.Sum256(jsonText(v))
	return hex.EncodeToString(sum[:8])
}
