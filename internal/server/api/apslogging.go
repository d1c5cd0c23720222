package api

import (
	"net/http"

	"github.com/mangru/mangru/internal/server/workspace"
)

// logging lists the operations on where a workspace's messages and queries are
// logged.
func (a *aps) logging() []Route {
	const messages, queries = pathWorkspace + "/logging", pathWorkspace + "/logging/query"
	describe := func(kind workspace.LogKind) handleFunc {
		return func(w http.ResponseWriter, c *Call) error { return a.describeLogging(w, c, kind) }
	}
	set := func(kind workspace.LogKind, create bool) handleFunc {
		return func(w http.ResponseWriter, c *Call) error { return a.setLogging(w, c, kind, create) }
	}
	remove := func(kind workspace.LogKind) handleFunc {
		return func(w http.ResponseWriter, c *Call) error {
			err := a.cfg.Workspaces.DeleteLogConfiguration(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], kind, queryToken(c))
			if err == nil {
				w.WriteHeader(http.StatusAccepted)
			}
			return err
		}
	}
	return []Route{
		a.route("CreateLoggingConfiguration", "POST", messages, a.one, set(workspace.LogMessages, true)),
		a.route("UpdateLoggingConfiguration", "PUT", messages, a.one, set(workspace.LogMessages, false)),
		a.route("DescribeLoggingConfiguration", "GET", messages, a.one, describe(workspace.LogMessages)),
		a.route("DeleteLoggingConfiguration", "DELETE", messages, a.one, remove(workspace.LogMessages)),
		a.route("CreateQueryLoggingConfiguration", "POST", queries, a.one, set(workspace.LogQueries, true)),
		a.route("UpdateQueryLoggingConfiguration", "PUT", queries, a.one, set(workspace.LogQueries, false)),
		a.route("DescribeQueryLoggingConfiguration", "GET", queries, a.one, describe(workspace.LogQueries)),
		a.route("DeleteQueryLoggingConfiguration", "DELETE", queries, a.one, remove(workspace.LogQueries)),
	}
}

type logGroupJSON struct {
	LogGroupARN string `json:"logGroupArn"`
}

type logFilterJSON struct {
	QSPThreshold *int64 `json:"qspThreshold"`
}

type logDestinationJSON struct {
	CloudWatchLogs *logGroupJSON  `json:"cloudWatchLogs"`
	Filters        *logFilterJSON `json:"filters"`
}

// logsJSON is the body of all calls that say where something is logged.
type logsJSON struct {
	ClientToken  string               `json:"clientToken"`
	LogGroupARN  string               `json:"logGroupArn"`
	Destinations []logDestinationJSON `json:"destinations"`
}

// destinations checks that what is required is there.
func (in *logsJSON) destinations(kind workspace.LogKind) ([]workspace.LogDestination, error) {
	var bad fields
	if kind == workspace.LogMessages {
		bad.require("logGroupArn", in.LogGroupARN != "")
		return []workspace.LogDestination{{Target: in.LogGroupARN}}, bad.err()
	}
	if len(in.Destinations) != 1 {
		bad.add("destinations", "exactly one is allowed")
		return nil, bad.err()
	}
	d := in.Destinations[0]
	bad.require("destinations.cloudWatchLogs.logGroupArn", d.CloudWatchLogs != nil && d.CloudWatchLogs.LogGroupARN != "")
	bad.require("destinations.filters.qspThreshold", d.Filters != nil && d.Filters.QSPThreshold != nil)
	if err := bad.err(); err != nil {
		return nil, err
	}
	return []workspace.LogDestination{{Target: d.CloudWatchLogs.LogGroupARN, QSPThreshold: *d.Filters.QSPThreshold}}, nil
}

func (a *aps) setLogging(w http.ResponseWriter, c *Call, kind workspace.LogKind, create bool) error {
	var in logsJSON
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	to, err := in.destinations(kind)
	if err != nil {
		return err
	}
	do := a.cfg.Workspaces.UpdateLogConfiguration
	if create {
		do = a.cfg.Workspaces.CreateLogConfiguration
	}
	cfg, err := do(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], kind, to, in.ClientToken)
	if err != nil {
		return err
	}
	writeStatus(w, statusJSON{cfg.Status, cfg.StatusReason})
	return nil
}

func (a *aps) describeLogging(w http.ResponseWriter, c *Call, kind workspace.LogKind) error {
	id := c.Params["workspaceId"]
	cfg, err := a.cfg.Workspaces.LogConfiguration(c.Request.Context(), c.Principal.AccountID, id, kind)
	if err != nil {
		return err
	}
	if kind == workspace.LogMessages {
		WriteJSON(w, http.StatusOK, map[string]any{"loggingConfiguration": struct {
			CreatedAt   seconds    `json:"createdAt"`
			LogGroupARN string     `json:"logGroupArn"`
			ModifiedAt  seconds    `json:"modifiedAt"`
			Status      statusJSON `json:"status"`
			Workspace   string     `json:"workspace"`
		}{secondsOf(cfg.CreatedAt), cfg.Destinations[0].Target, secondsOf(cfg.ModifiedAt), statusJSON{cfg.Status, cfg.StatusReason}, id}})
		return nil
	}
	out := struct {
		CreatedAt    seconds              `json:"createdAt"`
		Destinations []logDestinationJSON `json:"destinations"`
		ModifiedAt   seconds              `json:"modifiedAt"`
		Status       statusJSON           `json:"status"`
		Workspace    string               `json:"workspace"`
	}{CreatedAt: secondsOf(cfg.CreatedAt), ModifiedAt: secondsOf(cfg.ModifiedAt), Status: statusJSON{cfg.Status, cfg.StatusReason}, Workspace: id}
	for _, d := range cfg.Destinations {
		out.Destinations = append(out.Destinations, logDestinationJSON{&logGroupJSON{d.Target}, &logFilterJSON{&d.QSPThreshold}})
	}
	WriteJSON(w, http.StatusOK, map[string]any{"queryLoggingConfiguration": out})
	return nil
}
