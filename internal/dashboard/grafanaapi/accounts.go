package grafanaapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/records"
)

func accountRoutes() []route {
	return []route{
		{"POST /api/serviceaccounts", admins, (*api).createAccount},
		{"GET /api/serviceaccounts/search", admins, (*api).searchAccounts},
		{"GET /api/serviceaccounts/{account}", admins, (*api).getAccount},
		{"PATCH /api/serviceaccounts/{account}", admins, (*api).updateAccount},
		{"DELETE /api/serviceaccounts/{account}", admins, (*api).deleteAccount},
		{"GET /api/serviceaccounts/{account}/tokens", admins, (*api).listTokens},
		{"POST /api/serviceaccounts/{account}/tokens", admins, (*api).createToken},
		{"DELETE /api/serviceaccounts/{account}/tokens/{token}", admins, (*api).deleteToken},
	}
}

func accountBody(s *records.ServiceAccount, tokens []*records.Token) map[string]any {
	n := 0
	for _, t := range tokens {
		if t.ServiceAccountID == s.ID {
			n++
		}
	}
	return map[string]any{
		"id": s.ID, "uid": "sa-" + strconv.FormatInt(s.ID, 10), "name": s.Name, "login": s.Login, "orgId": OrgID, "isDisabled": s.Disabled, "isExternal": false, "role": s.Role,
		"tokens": n, "avatarUrl": "", "createdAt": stamp(s.CreatedAt), "updatedAt": stamp(s.UpdatedAt), "teams": []string{}, "accessControl": map[string]bool{},
	}
}

// account finds the service account of a path, by number or uid.
func (a *api) account(c *call) (*records.ServiceAccount, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(c.PathValue("account"), "sa-"), 10, 64)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "Service Account ID is invalid")
	}
	s, err := a.Store.ServiceAccount(c.Context(), c.ws, id)
	if errors.Is(err, records.ErrNotFound) {
		return nil, &apiError{http.StatusNotFound, map[string]any{"message": "service account not found", "messageId": "serviceaccounts.ErrNotFound", "statusCode": 404}}
	}
	return s, err
}

type accountCommand struct {
	Name       *string      `json:"name"`
	Role       *caller.Role `json:"role"`
	IsDisabled *bool        `json:"isDisabled"`
}

func (in accountCommand) check() error {
	if in.Name != nil && (strings.TrimSpace(*in.Name) == "" || len(*in.Name) > 190) {
		return &apiError{http.StatusBadRequest, map[string]any{"message": "name: allowed are 1 to 190 characters", "messageId": "serviceaccounts.ErrInvalidInput", "statusCode": 400}}
	}
	if in.Role != nil && !in.Role.Valid() {
		return &apiError{http.StatusBadRequest, map[string]any{
			"message": "invalid role specified: found " + string(*in.Role) + ", allowed are Viewer, Editor, Admin and None", "messageId": "serviceaccounts.ErrInvalidRoleSpecified", "statusCode": 400,
		}}
	}
	return nil
}

func (a *api) createAccount(c *call) (any, error) {
	var in accountCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if in.Name == nil {
		in.Name = new(string)
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	role := caller.RoleViewer
	if in.Role != nil {
		role = *in.Role
	}
	s, err := a.Store.CreateServiceAccount(c.Context(), c.ws, strings.TrimSpace(*in.Name), role, in.IsDisabled != nil && *in.IsDisabled)
	if errors.Is(err, records.ErrNameTaken) {
		return nil, &apiError{http.StatusBadRequest, map[string]any{"message": "service account already exists", "messageId": "serviceaccounts.ErrAlreadyExists", "statusCode": 400}}
	}
	if err != nil {
		return nil, err
	}
	return reply{http.StatusCreated, accountBody(s, nil)}, nil
}

func (a *api) searchAccounts(c *call) (any, error) {
	list, err := a.Store.ServiceAccounts(c.Context(), c.ws)
	if err != nil {
		return nil, err
	}
	tokens, err := a.Store.Tokens(c.Context(), c.ws, 0)
	if err != nil {
		return nil, err
	}
	query, out := strings.ToLower(c.URL.Query().Get("query")), []map[string]any{}
	for _, s := range list {
		if strings.Contains(strings.ToLower(s.Name+" "+s.Login), query) && (c.URL.Query().Get("disabled") != "true" || s.Disabled) {
			out = append(out, accountBody(s, tokens))
		}
	}
	total, per := len(out), max(c.number("perpage", 1000), 1)
	page := max(c.number("page", 1), 1)
	from := min((page-1)*per, total)
	return map[string]any{"totalCount": total, "serviceAccounts": out[from:min(from+per, total)], "page": page, "perPage": per}, nil
}

func (a *api) getAccount(c *call) (any, error) {
	s, err := a.account(c)
	if err != nil {
		return nil, err
	}
	tokens, err := a.Store.Tokens(c.Context(), c.ws, s.ID)
	if err != nil {
		return nil, err
	}
	return accountBody(s, tokens), nil
}

func (a *api) updateAccount(c *call) (any, error) {
	s, err := a.account(c)
	if err != nil {
		return nil, err
	}
	var in accountCommand
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.Name != nil {
		s.Name = strings.TrimSpace(*in.Name)
	}
	if in.Role != nil {
		s.Role = *in.Role
	}
	if in.IsDisabled != nil {
		s.Disabled = *in.IsDisabled
	}
	if err := a.Store.UpdateServiceAccount(c.Context(), s); err != nil {
		return nil, err
	}
	tokens, err := a.Store.Tokens(c.Context(), c.ws, s.ID)
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": s.ID, "message": "Service account updated", "name": s.Name, "serviceaccount": accountBody(s, tokens)}, nil
}

func (a *api) deleteAccount(c *call) (any, error) {
	s, err := a.account(c)
	if err != nil {
		return nil, err
	}
	return message("Service account deleted"), a.Store.DeleteServiceAccount(c.Context(), c.ws, s.ID)
}

func (a *api) listTokens(c *call) (any, error) {
	s, err := a.account(c)
	if err != nil {
		return nil, err
	}
	list, err := a.Store.Tokens(c.Context(), c.ws, s.ID)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, t := range list {
		item := map[string]any{
			"id": t.ID, "name": t.Name, "created": stamp(t.CreatedAt), "expiration": nil, "lastUsedAt": nil, "secondsUntilExpiration": 0, "hasExpired": false, "isRevoked": false,
		}
		if t.UsedAt != 0 {
			item["lastUsedAt"] = stamp(t.UsedAt)
		}
		if t.ExpiresAt != 0 {
			left := time.Until(time.UnixMilli(t.ExpiresAt))
			item["expiration"], item["secondsUntilExpiration"], item["hasExpired"] = stamp(t.ExpiresAt), max(left.Seconds(), 0), left <= 0
		}
		out = append(out, item)
	}
	return out, nil
}

func (a *api) createToken(c *call) (any, error) {
	s, err := a.account(c)
	if err != nil {
		return nil, err
	}
	var in struct {
		Name          string `json:"name"`
		SecondsToLive int64  `json:"secondsToLive"`
	}
	if err := c.body(&in); err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Name) == "" || in.SecondsToLive < 0 || in.SecondsToLive > 100*365*24*3600 {
		return nil, fail(http.StatusBadRequest, "a token needs a name and a secondsToLive of 0 (for ever) or more")
	}
	expires := int64(0)
	if in.SecondsToLive > 0 {
		expires = time.Now().UnixMilli() + 1000*in.SecondsToLive
	}
	t, text, err := a.Store.CreateToken(c.Context(), c.ws, s.ID, strings.TrimSpace(in.Name), expires)
	if errors.Is(err, records.ErrNameTaken) {
		return nil, &apiError{http.StatusBadRequest, map[string]any{
			"message": "service account token with given name already exists in the organization", "messageId": "serviceaccounts.ErrTokenAlreadyExists", "statusCode": 400,
		}}
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": t.ID, "name": t.Name, "key": text}, nil
}

func (a *api) deleteToken(c *call) (any, error) {
	s, err := a.account(c)
	if err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(c.PathValue("token"), 10, 64)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "Token ID is invalid")
	}
	err = a.Store.DeleteToken(c.Context(), c.ws, s.ID, id)
	if errors.Is(err, records.ErrNotFound) {
		return nil, &apiError{http.StatusNotFound, map[string]any{"message": "service account token not found", "messageId": "serviceaccounts.ErrTokenNotFound", "statusCode": 404}}
	}
	return message("Service account token deleted"), err
}
