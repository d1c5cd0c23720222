package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/workspace"
)

// conditions gives the tags of the resource that a call is about.
func (a *aps) conditions(c *Call) (map[string][]string, error) {
	keys := make(map[string][]string)
	tags, err := a.tagsOf(c)
	var missing *workspace.NotFoundError
	if err != nil && !errors.Is(err, workspace.ErrNotFound) && !errors.As(err, &missing) {
		return nil, err
	}
	iam.AddTagKeys(keys, "aws:resourcetag/", tags)
	return keys, nil
}

// tagsOf returns the tags of the resource that a call is about, none if it is
// about no particular one.
func (a *aps) tagsOf(c *Call) (map[string]string, error) {
	ctx, account := c.Request.Context(), c.Principal.AccountID
	if id := c.Params["scraperId"]; id != "" {
		s, err := a.cfg.Workspaces.Scraper(ctx, account, id)
		if err != nil {
			return nil, err
		}
		return s.Tags, nil
	}
	id := c.Params["workspaceId"]
	if id == "" {
		return nil, nil
	}
	if c.workspace == nil {
		e, err := a.cfg.Workspaces.Lookup(ctx, id)
		if err != nil {
			return nil, err
		}
		if e.AccountID != account {
			return nil, workspace.ErrNotFound
		}
		c.workspace = &e.Workspace
	}
	if name := c.Params["namespace"]; name != "" && a.cfg.RuleNamespaces != nil {
		n, err := a.cfg.RuleNamespaces.Describe(ctx, c.workspace, name)
		if err != nil {
			return nil, err
		}
		return n.Tags, nil
	}
	return c.workspace.Tags, nil
}

// tagging makes a route's tags, those that the request brings or takes away,
// conditions too.
func (a *aps) tagging(r Route) Route {
	r.Conditions = a.tagConditions
	return r
}

func (a *aps) tagConditions(c *Call) (map[string][]string, error) {
	keys, err := a.conditions(c)
	if err != nil {
		return nil, err
	}
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if err := decodeBody(c, &in); err != nil {
		return nil, err // what cannot be read cannot be judged
	}
	iam.AddTagKeys(keys, "aws:requesttag/", in.Tags)
	for name := range in.Tags {
		keys["aws:tagkeys"] = append(keys["aws:tagkeys"], name)
	}
	keys["aws:tagkeys"] = append(keys["aws:tagkeys"], c.Request.URL.Query()["tagKeys"]...)
	if len(keys["aws:tagkeys"]) == 0 {
		delete(keys, "aws:tagkeys")
	}
	return keys, nil
}

// tagged finds out what the ARN in a path names, and sets the parameters that
// the resource's own operations have.
func (a *aps) tagged(c *Call) (string, error) {
	arn := c.Params["resourceArn"]
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) == 6 && parts[0] == "arn" && parts[1] == "aws" && parts[2] == ServiceAPS && parts[3] == a.cfg.Region {
		kind, id, _ := strings.Cut(parts[5], "/")
		switch kind {
		case workspace.TypeWorkspace:
			if workspace.ValidID(id) {
				c.Params["workspaceId"] = id
				return arn, nil
			}
		case workspace.TypeScraper:
			if workspace.ValidScraperID(id) {
				c.Params["scraperId"] = id
				return arn, nil
			}
		case workspace.TypeRuleNamespace:
			ws, name, _ := strings.Cut(id, "/")
			if workspace.ValidID(ws) && name != "" && a.cfg.RuleNamespaces != nil {
				c.Params["workspaceId"], c.Params["namespace"] = ws, name
				return arn, nil
			}
		}
	}
	return "", invalid(reasonField, "resourceArn", fmt.Sprintf("'%.300s' is not the ARN of a resource with tags in %s", arn, a.cfg.Region))
}

func (a *aps) tag(w http.ResponseWriter, c *Call) error {
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	var bad fields
	bad.require("tags", in.Tags != nil)
	if err := bad.err(); err != nil {
		return err
	}
	ctx, account := c.Request.Context(), c.Principal.AccountID
	var err error
	switch {
	case c.Params["scraperId"] != "":
		err = a.cfg.Workspaces.TagScraper(ctx, account, c.Params["scraperId"], in.Tags)
	case c.Params["namespace"] != "":
		err = a.onNamespace(c, func(ws *workspace.Workspace, name string) error {
			return a.cfg.RuleNamespaces.Tag(ctx, ws, name, in.Tags)
		})
	default:
		err = a.cfg.Workspaces.Tag(ctx, account, c.Params["workspaceId"], in.Tags)
	}
	if err != nil {
		return err
	}
	WriteJSON(w, http.StatusOK, struct{}{})
	return nil
}

func (a *aps) untag(w http.ResponseWriter, c *Call) error {
	keys := c.Request.URL.Query()["tagKeys"]
	var bad fields
	bad.require("tagKeys", len(keys) > 0)
	if err := bad.err(); err != nil {
		return err
	}
	ctx, account := c.Request.Context(), c.Principal.AccountID
	var err error
	switch {
	case c.Params["scraperId"] != "":
		err = a.cfg.Workspaces.UntagScraper(ctx, account, c.Params["scraperId"], keys)
	case c.Params["namespace"] != "":
		err = a.onNamespace(c, func(ws *workspace.Workspace, name string) error {
			return a.cfg.RuleNamespaces.Untag(ctx, ws, name, keys)
		})
	default:
		err = a.cfg.Workspaces.Untag(ctx, account, c.Params["workspaceId"], keys)
	}
	if err != nil {
		return err
	}
	WriteJSON(w, http.StatusOK, struct{}{})
	return nil
}

func (a *aps) onNamespace(c *Call, do func(ws *workspace.Workspace, name string) error) error {
	ws, err := a.owned(c)
	if err != nil {
		return err
	}
	return of(workspace.TypeRuleNamespace, ws, do(ws, c.Params["namespace"]))
}

func (a *aps) listTags(w http.ResponseWriter, c *Call) error {
	tags, err := a.tagsOf(c)
	if err != nil {
		return err
	}
	if tags == nil {
		tags = map[string]string{}
	}
	WriteJSON(w, http.StatusOK, map[string]map[string]string{"tags": tags})
	return nil
}
