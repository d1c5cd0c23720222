package amgapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/server/api"
)

type instructionJSON struct {
	Action string               `json:"action"`
	Role   workspaces.Role      `json:"role"`
	Users  []workspaces.Subject `json:"users"`
}

type updateErrorJSON struct {
	Code     int             `json:"code"`
	Message  string          `json:"message"`
	CausedBy instructionJSON `json:"causedBy"`
}

// maxInstructions bounds a batch.
const maxInstructions = 20

// updatePermissions carries instructions out one by one. What is wrong with one
// is told in the answer and does not keep the others from being carried out.
func (a *amg) updatePermissions(c *api.Call) (int, any, error) {
	var in struct {
		Batch []instructionJSON `json:"updateInstructionBatch"`
	}
	if err := decode(c, &in); err != nil {
		return 0, nil, err
	}
	if in.Batch == nil {
		return 0, nil, invalid("updateInstructionBatch", "is required")
	}
	if len(in.Batch) > maxInstructions {
		return 0, nil, invalid("updateInstructionBatch", fmt.Sprintf("has %d entries, allowed are %d", len(in.Batch), maxInstructions))
	}
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	bad := []updateErrorJSON{}
	for _, i := range in.Batch {
		for _, who := range i.Users {
			err := a.instruct(c, w, i, who)
			var refused *workspaces.RefusedError
			if errors.As(err, &refused) {
				bad = append(bad, updateErrorJSON{refused.Status, refused.Message, instructionJSON{i.Action, i.Role, []workspaces.Subject{who}}})
				continue
			}
			if err != nil {
				return 0, nil, err
			}
		}
	}
	return http.StatusOK, map[string]any{"errors": bad}, nil
}

func (a *amg) instruct(c *api.Call, w *workspaces.Workspace, i instructionJSON, who workspaces.Subject) error {
	ctx := c.Request.Context()
	switch i.Action {
	case "ADD":
		return a.Workspaces.Grant(ctx, c.Principal.ARN, w, who, i.Role)
	case "REVOKE":
		return a.Workspaces.Revoke(ctx, w, who, i.Role)
	}
	return &workspaces.RefusedError{Status: http.StatusBadRequest, Message: fmt.Sprintf("action: found '%.50s', allowed are ADD and REVOKE", i.Action)}
}

func (a *amg) listPermissions(c *api.Call) (int, any, error) {
	p, err := pageOf(c)
	if err != nil {
		return 0, nil, err
	}
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	q := c.Request.URL.Query()
	f := workspaces.PermissionFilter{Kind: q.Get("userType"), UserID: q.Get("userId"), GroupID: q.Get("groupId")}
	if f.Kind != "" && f.Kind != workspaces.KindUser && f.Kind != workspaces.KindGroup {
		return 0, nil, invalid("userType", "allowed are SSO_USER and SSO_GROUP")
	}
	list, next, err := a.Workspaces.Permissions(c.Request.Context(), w, f, p)
	if err != nil {
		return 0, nil, err
	}
	type entry struct {
		User workspaces.Subject `json:"user"`
		Role workspaces.Role    `json:"role"`
	}
	out := struct {
		Permissions []entry `json:"permissions"`
		NextToken   string  `json:"nextToken,omitempty"`
	}{make([]entry, 0, len(list)), next}
	for _, x := range list {
		out.Permissions = append(out.Permissions, entry{x.Subject, x.Role})
	}
	return http.StatusOK, out, nil
}
