package grafanaapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mangru/mangru/internal/dashboard/alerting"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// definitionPath is where a workspace has the definition of its alert manager.
const definitionPath = "alertmanager/definition"

// kept is a definition, or rules, as the control plane of a workspace has them.
type kept struct {
	Data   []byte `json:"data"`
	Status struct {
		Code   string `json:"statusCode"`
		Reason string `json:"statusReason"`
	} `json:"status"`
}

// read asks for what a workspace keeps at a path; nil where that is nothing.
func (a *api) read(ctx context.Context, d *records.DataSource, path string) (*kept, error) {
	status, text, err := a.Sources.Manage(ctx, d, http.MethodGet, path, nil)
	if err != nil {
		return nil, unreachable(err)
	}
	if status == http.StatusNotFound {
		return nil, nil
	}
	if status != http.StatusOK {
		return nil, refusedBy(d, status, text)
	}
	var out struct {
		Namespace  *kept `json:"ruleGroupsNamespace"`
		Definition *kept `json:"alertManagerDefinition"`
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("answer of data source %s: %w", d.Name, err)
	}
	if out.Namespace != nil {
		return out.Namespace, nil
	}
	return out.Definition, nil
}

// settleFor is how long changes of a workspace may take.
const settleFor = time.Minute

// settled waits until no change is under way.
func (a *api) settled(ctx context.Context, d *records.DataSource, path string) (*kept, error) {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		k, err := a.read(ctx, d, path)
		if err != nil || k == nil || !strings.HasSuffix(k.Status.Code, "ING") {
			return k, err
		}
		select {
		case <-ctx.Done():
			return nil, fail(http.StatusGatewayTimeout, fmt.Sprintf("data source %s: %s is still %s", d.Name, path, k.Status.Code))
		case <-time.After(wait):
		}
	}
}

// write puts data at a path of a workspace, or takes away what is there where
// data is empty, and waits until that is so.
func (a *api) write(ctx context.Context, d *records.DataSource, path, name string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	old, err := a.settled(ctx, d, path)
	if err != nil {
		return err
	}
	method, at, body := http.MethodPut, path, map[string]any{"data": data}
	switch {
	case len(data) == 0 && old == nil:
		return nil
	case len(data) == 0:
		method, body = http.MethodDelete, nil
	case old == nil:
		method = http.MethodPost
		if name != "" {
			body["name"] = name
			at = strings.TrimSuffix(path, "/"+name)
		}
	}
	var text []byte
	if body != nil {
		text = jsonText(body)
	}
	status, answer, err := a.Sources.Manage(ctx, d, method, at, text)
	if err != nil {
		return unreachable(err)
	}
	if status >= 300 {
		return refusedBy(d, status, answer)
	}
	now, err := a.settled(ctx, d, path)
	if err != nil {
		return err
	}
	if now != nil && strings.HasSuffix(now.Status.Code, "FAILED") {
		return fail(http.StatusBadRequest, fmt.Sprintf("the workspace of data source %s refused it: %s", d.Name, now.Status.Reason))
	}
	return nil
}

func unreachable(err error) error { return fail(http.StatusBadGateway, err.Error()) }

// refusedBy tells what a workspace has said.
func refusedBy(d *records.DataSource, status int, text []byte) error {
	var in struct {
		Message string `json:"message"`
		Fields  []struct{ Name, Message string }
	}
	if json.Unmarshal(text, &in) != nil || in.Message == "" {
		in.Message = http.StatusText(status)
	}
	for _, f := range in.Fields {
		in.Message += "; " + f.Name + ": " + f.Message
	}
	say := fmt.Sprintf("the workspace of data source %s refused it: %s", d.Name, in.Message)
	switch status {
	case http.StatusBadRequest:
		return fail(http.StatusBadRequest, say)
	case http.StatusForbidden:
		return fail(http.StatusForbidden, say+" (its key needs aps:*RuleGroupsNamespace and aps:*AlertManagerDefinition)")
	case http.StatusConflict:
		return fail(http.StatusConflict, say)
	default:
		return fail(http.StatusBadGateway, fmt.Sprintf("%s (status %d)", say, status))
	}
}

// changing waits until no other request changes the alerting of the workspace and
// returns what ends the change. Others' workspaces go on: a change lasts as long as
// the control planes that it speaks with.
func (a *api) changing(c *call) (done func()) {
	v, _ := a.alerting.LoadOrStore(c.ws, &sync.Mutex{})
	m := v.(*sync.Mutex)
	m.Lock()
	return m.Unlock
}

// carriedOn is a call that goes on when its caller is gone, for a while.
func (c *call) carriedOn() (*call, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), settleFor)
	on := *c
	on.Request = c.WithContext(ctx)
	return &on, cancel
}

// name is what a namespace is called in its workspace.
func (n namespaceOf) name(ws string) string { return "grafana." + ws + "." + n.folder + "." + n.source }

// ruleRecord is a rule as it is kept.
type ruleRecord struct {
	Rule     alerting.Rule `json:"rule"`
	Interval int64         `json:"interval"` // of its group, in seconds
	Position int           `json:"position"` // in its group
	Source   string        `json:"source"`   // uid of the data source that it queries
}

// badAlerting turns what cannot be translated into an answer.
func badAlerting(err error) error {
	var e *alerting.Error
	if errors.As(err, &e) {
		return fail(http.StatusBadRequest, err.Error())
	}
	return err
}
