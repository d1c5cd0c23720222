package grafanaapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/dashboard/alerting"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// alertRuleRoutes are provisioned rules. They are kept as they were sent and
// written, translated, into the workspace of their data source, which evaluates them.
func alertRuleRoutes() []route {
	const rules, group = "/api/v1/provisioning/alert-rules", "/api/v1/provisioning/folder/{uid}/rule-groups/{group}"
	return []route{
		{"GET " + rules, viewers, (*api).listAlertRules},
		{"POST " + rules, editors, (*api).createAlertRule},
		{"GET " + rules + "/export", viewers, (*api).exportAlertRules},
		{"GET " + rules + "/{id}", viewers, (*api).getAlertRule},
		{"PUT " + rules + "/{id}", editors, (*api).updateAlertRule},
		{"DELETE " + rules + "/{id}", editors, (*api).deleteAlertRule},
		{"GET " + rules + "/{id}/export", viewers, (*api).exportAlertRules},
		{"GET " + group, viewers, (*api).getRuleGroup},
		{"PUT " + group, editors, (*api).putRuleGroup},
		{"DELETE " + group, editors, (*api).deleteRuleGroup},
		{"GET " + group + "/export", viewers, (*api).exportAlertRules},
	}
}

// defaultInterval is what a new group is evaluated with, in seconds.
const defaultInterval = 60

func readRule(d *records.Document) (ruleRecord, error) {
	var r ruleRecord
	err := json.Unmarshal(d.Data, &r)
	r.Rule.ID, r.Rule.UID, r.Rule.OrgID, r.Rule.Updated = d.ID, d.UID, OrgID, stamp(d.UpdatedAt)
	return r, err
}

// rulesWhere lists the rules that are wanted, by folder, group and position.
func (a *api) rulesWhere(ctx context.Context, ws string, want func(*ruleRecord) bool) ([]ruleRecord, error) {
	docs, err := a.Store.Documents(ctx, ws, records.KindAlertRule, nil)
	if err != nil {
		return nil, err
	}
	var out []ruleRecord
	for _, d := range docs {
		r, err := readRule(d)
		if err != nil {
			return nil, fmt.Errorf("alert rule %s: %w", d.UID, err)
		}
		if want(&r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y ruleRecord) int { return cmp.Or(byPlace(x, y), cmp.Compare(x.Rule.ID, y.Rule.ID)) })
	return out, nil
}

// byPlace orders rules by folder, group and position.
func byPlace(x, y ruleRecord) int {
	return cmp.Or(strings.Compare(x.Rule.FolderUID, y.Rule.FolderUID), strings.Compare(x.Rule.RuleGroup, y.Rule.RuleGroup), cmp.Compare(x.Position, y.Position))
}

// visibleRules are the rules of a path that the caller may see.
func (a *api) visibleRules(c *call) ([]ruleRecord, error) {
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	q := c.URL.Query()
	folders, id, folder, group := q["folderUid"], c.PathValue("id"), c.PathValue("uid"), c.PathValue("group")
	if group == "" {
		group = q.Get("group")
	}
	if id == "" {
		id = q.Get("ruleUid")
	}
	return a.rulesWhere(c.Context(), c.ws, func(r *ruleRecord) bool {
		return rights.FolderLevel(c.caller, r.Rule.FolderUID) >= records.View && (id == "" || r.Rule.UID == id) && (group == "" || r.Rule.RuleGroup == group) &&
			(folder == "" || r.Rule.FolderUID == folder) && (len(folders) == 0 || slices.Contains(folders, r.Rule.FolderUID))
	})
}

func (a *api) listAlertRules(c *call) (any, error) {
	list, err := a.visibleRules(c)
	out := []alerting.Rule{}
	for _, r := range list {
		out = append(out, r.Rule)
	}
	return out, err
}

func (a *api) getAlertRule(c *call) (any, error) {
	list, err := a.visibleRules(c)
	if err == nil && len(list) == 0 {
		err = fail(http.StatusNotFound, "alert rule not found")
	}
	if err != nil {
		return nil, err
	}
	return list[0].Rule, nil
}

// mayRules checks that the caller may change the rules of a folder.
func (a *api) mayRules(c *call, folder string) error {
	rights, err := c.access()
	if err != nil {
		return err
	}
	if rights.Folder(folder) == nil {
		return fail(http.StatusBadRequest, fmt.Sprintf("folderUID: there is no folder %q", folder))
	}
	if rights.FolderLevel(c.caller, folder) < records.Edit {
		return denied("alert.rules:write")
	}
	return nil
}

// provenance is what a change is marked with, as Grafana does.
func provenance(c *call) string {
	if _, off := c.Header[http.CanonicalHeaderKey("X-Disable-Provenance")]; off {
		return ""
	}
	return "api"
}

func (a *api) createAlertRule(c *call) (any, error) {
	var in alerting.Rule
	if err := c.body(&in); err != nil {
		return nil, err
	}
	defer a.changing(c)()
	if in.UID == "" {
		in.UID = records.NewUID()
	} else if _, err := a.Store.Document(c.Context(), c.ws, records.KindAlertRule, in.UID); err == nil {
		return nil, fail(http.StatusConflict, "conflicting alert rule found: an alert rule with this uid exists")
	} else if !errors.Is(err, records.ErrNotFound) {
		return nil, err
	}
	out, err := a.changeRules(c, in.FolderUID, nil, []alerting.Rule{in}, 0)
	if err != nil {
		return nil, err
	}
	return reply{http.StatusCreated, out[0]}, nil
}

func (a *api) updateAlertRule(c *call) (any, error) {
	var in alerting.Rule
	if err := c.body(&in); err != nil {
		return nil, err
	}
	defer a.changing(c)()
	old, err := a.ownRule(c)
	if err != nil {
		return nil, err
	}
	in.UID = old.Rule.UID
	out, err := a.changeRules(c, in.FolderUID, []ruleRecord{*old}, []alerting.Rule{in}, 0)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// ownRule finds the rule of a path that the caller may change.
func (a *api) ownRule(c *call) (*ruleRecord, error) {
	d, err := a.document(c, records.KindAlertRule, c.PathValue("id"), "alert rule not found")
	if err != nil {
		return nil, err
	}
	r, err := readRule(d)
	if err != nil {
		return nil, err
	}
	return &r, a.mayRules(c, r.Rule.FolderUID)
}

// noContent answers a deletion.
func noContent(c *call) (any, error) {
	c.w.WriteHeader(http.StatusNoContent)
	return answered{}, nil
}

func (a *api) deleteAlertRule(c *call) (any, error) {
	defer a.changing(c)()
	old, err := a.ownRule(c)
	var e *apiError
	if errors.As(err, &e) && e.status == http.StatusNotFound {
		return noContent(c) // as Grafana answers
	}
	if err != nil {
		return nil, err
	}
	if _, err := a.changeRules(c, old.Rule.FolderUID, []ruleRecord{*old}, nil, 0); err != nil {
		return nil, err
	}
	return noContent(c)
}

func (a *api) getRuleGroup(c *call) (any, error) {
	list, err := a.visibleRules(c)
	if err == nil && len(list) == 0 {
		err = fail(http.StatusNotFound, "rule group not found")
	}
	if err != nil {
		return nil, err
	}
	return groupBody(list), nil
}

func groupBody(list []ruleRecord) map[string]any {
	rules := []alerting.Rule{}
	for _, r := range list {
		rules = append(rules, r.Rule)
	}
	return map[string]any{"title": list[0].Rule.RuleGroup, "folderUid": list[0].Rule.FolderUID, "interval": list[0].Interval, "rules": rules}
}

func (a *api) groupRules(c *call) ([]ruleRecord, error) {
	folder, group := c.PathValue("uid"), c.PathValue("group")
	if err := a.mayRules(c, folder); err != nil {
		return nil, err
	}
	return a.rulesWhere(c.Context(), c.ws, func(r *ruleRecord) bool { return r.Rule.FolderUID == folder && r.Rule.RuleGroup == group })
}

func (a *api) putRuleGroup(c *call) (any, error) {
	var in struct {
		Interval int64           `json:"interval"`
		Rules    []alerting.Rule `json:"rules"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Interval == 0 {
		in.Interval = defaultInterval
	}
	if in.Interval < 1 || in.Interval > 24*3600 {
		return nil, fail(http.StatusBadRequest, fmt.Sprintf("interval: found %d, allowed are 1 to 86400 seconds", in.Interval))
	}
	defer a.changing(c)()
	if err := a.mayRules(c, c.PathValue("uid")); err != nil {
		return nil, err
	}
	var old []ruleRecord
	elsewhere, uids := map[string]bool{}, map[string]bool{}
	all, err := a.rulesWhere(c.Context(), c.ws, func(*ruleRecord) bool { return true })
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if r.Rule.FolderUID == c.PathValue("uid") && r.Rule.RuleGroup == c.PathValue("group") {
			old = append(old, r)
		} else {
			elsewhere[r.Rule.UID] = true
		}
	}
	for i := range in.Rules {
		r := &in.Rules[i]
		r.FolderUID, r.RuleGroup = c.PathValue("uid"), c.PathValue("group")
		if r.UID == "" {
			r.UID = records.NewUID()
		}
		if uids[r.UID] {
			return nil, fail(http.StatusBadRequest, "rules: the uid "+r.UID+" is there twice")
		}
		uids[r.UID] = true
		if elsewhere[r.UID] {
			return nil, fail(http.StatusConflict, "conflicting alert rule found: "+r.UID+" is in another group")
		}
	}
	if _, err := a.changeRules(c, c.PathValue("uid"), old, in.Rules, in.Interval); err != nil {
		return nil, err
	}
	if len(in.Rules) == 0 {
		return map[string]any{"title": c.PathValue("group"), "folderUid": c.PathValue("uid"), "interval": in.Interval, "rules": []any{}}, nil
	}
	return a.getRuleGroup(c)
}

func (a *api) deleteRuleGroup(c *call) (any, error) {
	defer a.changing(c)()
	old, err := a.groupRules(c)
	if err == nil && len(old) == 0 {
		err = fail(http.StatusNotFound, "rule group not found")
	}
	if err != nil {
		return nil, err
	}
	if _, err := a.changeRules(c, c.PathValue("uid"), old, nil, 0); err != nil {
		return nil, err
	}
	return noContent(c)
}

// changeRules takes rules of old away and puts those of put there: into the
// workspaces first, which may refuse them, then into the records. interval is the
// group's, 0 leaves it.
func (a *api) changeRules(c *call, folder string, old []ruleRecord, put []alerting.Rule, interval int64) ([]alerting.Rule, error) {
	if err := a.mayRules(c, folder); err != nil {
		return nil, err
	}
	gone := map[string]bool{}
	for _, r := range old {
		gone[r.Rule.UID] = true
	}
	all, err := a.rulesWhere(c.Context(), c.ws, func(r *ruleRecord) bool { return !gone[r.Rule.UID] })
	if err != nil {
		return nil, err
	}
	fresh := make([]ruleRecord, 0, len(put))
	for i := range put {
		r, err := a.newRule(c, &put[i], all, old)
		if err != nil {
			return nil, err
		}
		if interval > 0 {
			r.Interval, r.Position = interval, i
		}
		fresh = append(fresh, *r)
		all = append(all, *r)
	}
	// The new ones first: what refuses them has then taken nothing away.
	var touched []namespaceOf
	for _, r := range slices.Concat(fresh, old) {
		if t := (namespaceOf{r.Rule.FolderUID, r.Source}); !slices.Contains(touched, t) {
			touched = append(touched, t)
		}
	}
	for i, t := range touched {
		if err := a.publish(c, t, all); err != nil {
			a.putBackRules(c, touched[:i])
			return nil, err
		}
	}
	out, err := a.keepRules(c, gone, fresh)
	if err != nil {
		a.putBackRules(c, touched)
	}
	return out, err
}

// putBackRules writes the rules that are kept into workspaces that others were
// written into already.
func (a *api) putBackRules(c *call, touched []namespaceOf) {
	c, cancel := c.carriedOn()
	defer cancel()
	all, err := a.rulesWhere(c.Context(), c.ws, func(*ruleRecord) bool { return true })
	for _, t := range touched {
		if err == nil {
			err = a.publish(c, t, all)
		}
	}
	if err != nil {
		a.log.Error("a workspace evaluates other alert rules than those that are kept, until the next change of its rules", "workspace", c.ws, "err", err)
	}
}

// newRule checks a rule and finds its place in its group.
func (a *api) newRule(c *call, in *alerting.Rule, all, old []ruleRecord) (*ruleRecord, error) {
	if err := in.Check(); err != nil {
		return nil, badAlerting(err)
	}
	source, err := in.Source()
	if err != nil {
		return nil, badAlerting(err)
	}
	in.Provenance = provenance(c)
	r := &ruleRecord{Rule: *in, Interval: defaultInterval, Source: source}
	same := func(o ruleRecord) bool { return o.Rule.FolderUID == in.FolderUID && o.Rule.RuleGroup == in.RuleGroup }
	for _, o := range all {
		if o.Rule.FolderUID == in.FolderUID && o.Rule.Title == in.Title {
			return nil, fail(http.StatusConflict, fmt.Sprintf("title: the folder has a rule %q already", in.Title))
		}
		if same(o) {
			r.Interval, r.Position = o.Interval, max(r.Position, o.Position+1)
		}
	}
	for _, o := range old {
		if o.Rule.UID == in.UID && same(o) {
			r.Interval, r.Position = o.Interval, o.Position
		}
	}
	return r, nil
}

func (a *api) keepRules(c *call, gone map[string]bool, fresh []ruleRecord) ([]alerting.Rule, error) {
	out := []alerting.Rule{}
	for _, r := range fresh {
		d := &records.Document{WorkspaceID: c.ws, Kind: records.KindAlertRule, UID: r.Rule.UID, Owner: r.Rule.FolderUID, Name: r.Rule.RuleGroup, Data: jsonText(r)}
		if err := a.Store.PutDocument(c.Context(), d); err != nil {
			return nil, err
		}
		delete(gone, r.Rule.UID)
		now, err := a.Store.Document(c.Context(), c.ws, records.KindAlertRule, d.UID)
		if err != nil {
			return nil, err
		}
		read, err := readRule(now)
		if err != nil {
			return nil, err
		}
		out = append(out, read.Rule)
	}
	for uid := range gone {
		if err := a.Store.DeleteDocument(c.Context(), c.ws, records.KindAlertRule, uid); err != nil && !errors.Is(err, records.ErrNotFound) {
			return nil, err
		}
	}
	return out, nil
}

// namespaceOf is which rules are one namespace of a workspace: those of a folder
// that query a data source.
type namespaceOf struct{ folder, source string }

// publish writes a namespace into the workspace of its data source.
func (a *api) publish(c *call, of namespaceOf, all []ruleRecord) error {
	d, err := a.Store.DataSource(c.Context(), c.ws, of.source)
	if errors.Is(err, records.ErrDataSourceNotFound) {
		return fail(http.StatusBadRequest, fmt.Sprintf("datasourceUid: there is no data source %q", of.source))
	}
	if err != nil {
		return err
	}
	if err := a.Sources.Managed(d); err != nil {
		return fail(http.StatusBadRequest, err.Error())
	}
	var groups []alerting.Group
	all = slices.Clone(all)
	slices.SortStableFunc(all, byPlace)
	for _, r := range all {
		if (namespaceOf{r.Rule.FolderUID, r.Source}) != of {
			continue
		}
		if n := len(groups); n == 0 || groups[n-1].Name != r.Rule.RuleGroup {
			groups = append(groups, alerting.Group{Name: r.Rule.RuleGroup, Interval: time.Duration(r.Interval) * time.Second})
		}
		g := &groups[len(groups)-1]
		g.Rules = append(g.Rules, r.Rule)
	}
	title := of.folder
	if f := c.rights.Folder(of.folder); f != nil {
		title = f.Title
	}
	file, err := alerting.RulesFile(groups, title)
	if err != nil {
		return badAlerting(err)
	}
	name := of.name(c.ws)
	return a.write(c.Context(), d, "rulegroupsnamespaces/"+name, name, file)
}

// folderRules lists the rules of a folder and of those inside it.
func (a *api) folderRules(c *call, folder string) ([]ruleRecord, error) {
	rights, err := c.access()
	if err != nil {
		return nil, err
	}
	return a.rulesWhere(c.Context(), c.ws, func(r *ruleRecord) bool {
		return r.Rule.FolderUID == folder || slices.ContainsFunc(rights.Parents(r.Rule.FolderUID), func(f *records.Folder) bool { return f.UID == folder })
	})
}

// dropFolderRules takes the rules of a folder away before it goes; without force
// there may be none.
func (a *api) dropFolderRules(c *call, folder string, force bool) error {
	defer a.changing(c)()
	list, err := a.folderRules(c, folder)
	if err != nil || len(list) == 0 {
		return err
	}
	if !force {
		return &apiError{http.StatusBadRequest, map[string]any{"messageId": "folder.not-empty", "statusCode": http.StatusBadRequest,
			"message": fmt.Sprintf("folder cannot be deleted: folder contains %d alert rules (forceDeleteRules=true deletes them, too)", len(list))}}
	}
	_, err = a.changeRules(c, folder, list, nil, 0)
	return err
}

// republish writes the rules of a folder again.
func (a *api) republish(c *call, folder string) error {
	defer a.changing(c)()
	all, err := a.rulesWhere(c.Context(), c.ws, func(r *ruleRecord) bool { return r.Rule.FolderUID == folder })
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for _, r := range all {
		if !done[r.Source] {
			done[r.Source] = true
			if err := a.publish(c, namespaceOf{folder, r.Source}, all); err != nil {
				return err
			}
		}
	}
	return nil
}
