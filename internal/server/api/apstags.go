package api

import (
	"encoding/json"
	"errors"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/server/workspace"
)

// conditions gives the tags of the workspace that a call is about, and those
// that it brings.
func (a *aps) conditions(c *Call) (map[string][]string, error) {
	keys := make(map[string][]string)
	if c.Params["workspaceId"] != "" {
		ws, err := a.get(c)
		switch {
		case err == nil:
			c.workspace = ws
			iam.AddTagKeys(keys, "aws:resourcetag/", ws.Tags)
		case !errors.Is(err, workspace.ErrNotFound):
			return nil, err
		}
	}
	return keys, nil
}

// tagConditions is conditions for the operations that set or remove tags.
func (a *aps) tagConditions(c *Call) (map[string][]string, error) {
	keys, err := a.conditions(c)
	if err != nil {
		return nil, err
	}
	var in struct {
		Tags map[string]string `json:"tags"`
	}
	if body, ok := c.Request.Body.(*sigv4.Body); ok && len(body.Bytes()) > 0 {
		if err := json.Unmarshal(body.Bytes(), &in); err != nil {
			return nil, bodyError(err) // what cannot be read cannot be judged
		}
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
