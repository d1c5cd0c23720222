package api

import (
	"net/http"
	"time"

	"github.com/mangru/mangru/internal/server/workspace"
)

type labelSetJSON struct {
	LabelSet map[string]string `json:"labelSet"`
	Limits   *labelSetLimits   `json:"limits"`
}

type labelSetLimits struct {
	MaxSeries int64 `json:"maxSeries"`
}

type configurationJSON struct {
	LimitsPerLabelSet []labelSetJSON `json:"limitsPerLabelSet"`
	OutOfOrderSeconds int64          `json:"outOfOrderTimeWindowInSeconds"`
	RetentionDays     int64          `json:"retentionPeriodInDays"`
	RuleOffsetSeconds int64          `json:"ruleQueryOffsetInSeconds"`
	Status            statusJSON     `json:"status"`
}

func (a *aps) describeConfiguration(w http.ResponseWriter, c *Call) error {
	cfg, err := a.cfg.Workspaces.Configuration(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"])
	if err != nil {
		return err
	}
	out := configurationJSON{LimitsPerLabelSet: []labelSetJSON{}, OutOfOrderSeconds: int64(cfg.Settings.OutOfOrderWindow / time.Second),
		RetentionDays: days(cfg.Settings.Retention), RuleOffsetSeconds: int64(cfg.Settings.RuleQueryOffset / time.Second),
		Status: statusJSON{cfg.Status, cfg.StatusReason}}
	for _, set := range cfg.Settings.LabelSets {
		out.LimitsPerLabelSet = append(out.LimitsPerLabelSet, labelSetJSON{set.Labels, &labelSetLimits{set.MaxSeries}})
	}
	WriteJSON(w, http.StatusOK, map[string]configurationJSON{"workspaceConfiguration": out})
	return nil
}

// days rounds up: the server's own setting need not be whole days.
func days(d time.Duration) int64 { return int64((d + 24*time.Hour - 1) / (24 * time.Hour)) }

func (a *aps) updateConfiguration(w http.ResponseWriter, c *Call) error {
	var in struct {
		ClientToken       string          `json:"clientToken"`
		LimitsPerLabelSet *[]labelSetJSON `json:"limitsPerLabelSet"`
		OutOfOrderSeconds *int64          `json:"outOfOrderTimeWindowInSeconds"`
		RetentionDays     *int64          `json:"retentionPeriodInDays"`
		RuleOffsetSeconds *int64          `json:"ruleQueryOffsetInSeconds"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	change := workspace.ConfigurationChange{RetentionDays: in.RetentionDays, OutOfOrderSeconds: in.OutOfOrderSeconds, RuleOffsetSeconds: in.RuleOffsetSeconds}
	if in.LimitsPerLabelSet != nil {
		var bad fields
		sets := make([]workspace.LabelSetLimit, 0, len(*in.LimitsPerLabelSet))
		for _, set := range *in.LimitsPerLabelSet {
			bad.require("limitsPerLabelSet.labelSet", set.LabelSet != nil)
			bad.require("limitsPerLabelSet.limits", set.Limits != nil)
			if set.Limits == nil {
				set.Limits = &labelSetLimits{}
			}
			sets = append(sets, workspace.LabelSetLimit{Labels: set.LabelSet, MaxSeries: set.Limits.MaxSeries})
		}
		if err := bad.err(); err != nil {
			return err
		}
		change.LabelSets = &sets
	}
	cfg, err := a.cfg.Workspaces.UpdateConfiguration(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], change, in.ClientToken)
	if err != nil {
		return err
	}
	writeStatus(w, statusJSON{cfg.Status, cfg.StatusReason})
	return nil
}

// writeStatus answers a change with the state that it led to.
func writeStatus(w http.ResponseWriter, s statusJSON) {
	WriteJSON(w, http.StatusAccepted, map[string]statusJSON{"status": s})
}

type policyJSON struct {
	Document   string           `json:"policyDocument,omitempty"`
	Status     workspace.Status `json:"policyStatus"`
	RevisionID string           `json:"revisionId"`
}

func (a *aps) putPolicy(w http.ResponseWriter, c *Call) error {
	var in struct {
		ClientToken    string `json:"clientToken"`
		PolicyDocument string `json:"policyDocument"`
		RevisionID     string `json:"revisionId"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	p, err := a.cfg.Workspaces.PutPolicy(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"], in.PolicyDocument, in.RevisionID, in.ClientToken)
	if err != nil {
		return err
	}
	WriteJSON(w, http.StatusAccepted, policyJSON{Status: workspace.StatusActive, RevisionID: p.RevisionID})
	return nil
}

func (a *aps) describePolicy(w http.ResponseWriter, c *Call) error {
	p, err := a.cfg.Workspaces.Policy(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"])
	if err != nil {
		return err
	}
	WriteJSON(w, http.StatusOK, policyJSON{Document: p.Document, Status: workspace.StatusActive, RevisionID: p.RevisionID})
	return nil
}

func (a *aps) deletePolicy(w http.ResponseWriter, c *Call) error {
	err := a.cfg.Workspaces.DeletePolicy(c.Request.Context(), c.Principal.AccountID, c.Params["workspaceId"],
		c.Request.URL.Query().Get("revisionId"), queryToken(c))
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
