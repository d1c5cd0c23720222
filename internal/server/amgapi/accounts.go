package amgapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/dashboard/workspaces"
	"github.com/mangru/mangru/internal/server/api"
)

const (
	maxName = 128
	// maxTokenLife is 30 days, in seconds.
	maxTokenLife = 30 * 24 * 3600
	// keyPrefix begins the names of the service accounts that stand for API keys.
	keyPrefix  = "API key "
	maxKeyName = 100
)

func checkName(field, name string, most int) error {
	if n := utf8.RuneCountInString(strings.TrimSpace(name)); n < 1 || n > most {
		return invalid(field, fmt.Sprintf("allowed are 1 to %d characters", most))
	}
	return nil
}

func checkRole(field string, role workspaces.Role) error {
	if !role.Valid() {
		return invalid(field, fmt.Sprintf("found '%.50s', allowed are ADMIN, EDITOR and VIEWER", role))
	}
	return nil
}

func checkLife(seconds int64) error {
	if seconds < 1 || seconds > maxTokenLife {
		return invalid("secondsToLive", fmt.Sprintf("found %d, allowed are 1 to %d", seconds, maxTokenLife))
	}
	return nil
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// account is the service account that a call is about, with its workspace.
func (a *amg) account(c *api.Call) (*workspaces.Workspace, *records.ServiceAccount, error) {
	w, err := a.workspace(c)
	if err != nil {
		return nil, nil, err
	}
	name := c.Params["serviceAccountId"]
	id, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		return nil, nil, missing(name, typeAccount)
	}
	s, err := a.Accounts.ServiceAccount(c.Request.Context(), w.Key, id)
	if errors.Is(err, records.ErrNotFound) {
		return nil, nil, missing(name, typeAccount)
	}
	return w, s, err
}

func (a *amg) createAccount(c *api.Call) (int, any, error) {
	var in struct {
		Name string          `json:"name"`
		Role workspaces.Role `json:"grafanaRole"`
	}
	if err := decode(c, &in); err != nil {
		return 0, nil, err
	}
	if err := errors.Join(checkName("name", in.Name, maxName), checkRole("grafanaRole", in.Role)); err != nil {
		return 0, nil, err
	}
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	s, err := a.Accounts.CreateServiceAccount(c.Request.Context(), w.Key, strings.TrimSpace(in.Name), in.Role.Caller(), false)
	if errors.Is(err, records.ErrNameTaken) {
		return 0, nil, conflict(in.Name, typeAccount, "A service account with this name exists already.")
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"id": number(s.ID), "name": s.Name, "grafanaRole": in.Role, "workspaceId": w.ID}, nil
}

func (a *amg) listAccounts(c *api.Call) (int, any, error) {
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	list, err := a.Accounts.ServiceAccounts(c.Request.Context(), w.Key)
	if err != nil {
		return 0, nil, err
	}
	list, next, err := pick(c, list)
	if err != nil {
		return 0, nil, err
	}
	out := []map[string]any{}
	for _, s := range list {
		// isDisabled is a text in this API.
		out = append(out, map[string]any{"id": number(s.ID), "name": s.Name, "isDisabled": strconv.FormatBool(s.Disabled), "grafanaRole": workspaces.RoleOf(s.Role)})
	}
	return http.StatusOK, withNext(map[string]any{"serviceAccounts": out, "workspaceId": w.ID}, next), nil
}

func withNext(out map[string]any, next string) map[string]any {
	if next != "" {
		out["nextToken"] = next
	}
	return out
}

// pick is the page of a list that a call asks for.
func pick[T any](c *api.Call, list []T) (page []T, next string, err error) {
	p, err := pageOf(c)
	if err != nil {
		return nil, "", err
	}
	from := 0
	if p.After != "" {
		if from, err = strconv.Atoi(p.After); err != nil || from < 0 {
			return nil, "", invalid("nextToken", "is not one that was given out")
		}
	}
	if p.Max == 0 {
		p.Max = 100
	}
	from = min(from, len(list))
	to := min(from+p.Max, len(list))
	if to < len(list) {
		next = strconv.Itoa(to)
	}
	return list[from:to], next, nil
}

func (a *amg) deleteAccount(c *api.Call) (int, any, error) {
	w, s, err := a.account(c)
	if err != nil {
		return 0, nil, err
	}
	if err := a.Accounts.DeleteServiceAccount(c.Request.Context(), w.Key, s.ID); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"serviceAccountId": number(s.ID), "workspaceId": w.ID}, nil
}

func (a *amg) createToken(c *api.Call) (int, any, error) {
	var in struct {
		Name          string `json:"name"`
		SecondsToLive int64  `json:"secondsToLive"`
	}
	if err := decode(c, &in); err != nil {
		return 0, nil, err
	}
	if err := errors.Join(checkName("name", in.Name, maxName), checkLife(in.SecondsToLive)); err != nil {
		return 0, nil, err
	}
	w, s, err := a.account(c)
	if err != nil {
		return 0, nil, err
	}
	t, text, err := a.Accounts.CreateToken(c.Request.Context(), w.Key, s.ID, strings.TrimSpace(in.Name), time.Now().UnixMilli()+1000*in.SecondsToLive)
	if errors.Is(err, records.ErrNameTaken) {
		return 0, nil, conflict(in.Name, typeToken, "The service account has a token with this name already.")
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{
		"serviceAccountToken": map[string]string{"id": number(t.ID), "name": t.Name, "key": text}, "serviceAccountId": number(s.ID), "workspaceId": w.ID,
	}, nil
}

func (a *amg) listTokens(c *api.Call) (int, any, error) {
	w, s, err := a.account(c)
	if err != nil {
		return 0, nil, err
	}
	list, err := a.Accounts.Tokens(c.Request.Context(), w.Key, s.ID)
	if err != nil {
		return 0, nil, err
	}
	list, next, err := pick(c, list)
	if err != nil {
		return 0, nil, err
	}
	at := func(ms int64) json.RawMessage { return seconds(time.UnixMilli(ms)) }
	out := []map[string]any{}
	for _, t := range list {
		item := map[string]any{"id": number(t.ID), "name": t.Name, "createdAt": at(t.CreatedAt), "expiresAt": at(t.ExpiresAt)}
		if t.UsedAt != 0 {
			item["lastUsedAt"] = at(t.UsedAt)
		}
		out = append(out, item)
	}
	return http.StatusOK, withNext(map[string]any{"serviceAccountTokens": out, "serviceAccountId": number(s.ID), "workspaceId": w.ID}, next), nil
}

func (a *amg) deleteToken(c *api.Call) (int, any, error) {
	w, s, err := a.account(c)
	if err != nil {
		return 0, nil, err
	}
	name := c.Params["tokenId"]
	id, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		return 0, nil, missing(name, typeToken)
	}
	err = a.Accounts.DeleteToken(c.Request.Context(), w.Key, s.ID, id)
	if errors.Is(err, records.ErrNotFound) {
		return 0, nil, missing(name, typeToken)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"tokenId": name, "serviceAccountId": number(s.ID), "workspaceId": w.ID}, nil
}

// createKey makes an API key, which is the one token of a service account of its
// own.
func (a *amg) createKey(c *api.Call) (int, any, error) {
	var in struct {
		Name          string          `json:"keyName"`
		Role          workspaces.Role `json:"keyRole"`
		SecondsToLive int64           `json:"secondsToLive"`
	}
	if err := decode(c, &in); err != nil {
		return 0, nil, err
	}
	if err := errors.Join(checkName("keyName", in.Name, maxKeyName), checkRole("keyRole", in.Role), checkLife(in.SecondsToLive)); err != nil {
		return 0, nil, err
	}
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	ctx := c.Request.Context()
	s, err := a.Accounts.CreateServiceAccount(ctx, w.Key, keyPrefix+in.Name, in.Role.Caller(), false)
	if errors.Is(err, records.ErrNameTaken) {
		return 0, nil, conflict(in.Name, typeKey, "An API key with this name exists already.")
	}
	if err != nil {
		return 0, nil, err
	}
	_, text, err := a.Accounts.CreateToken(ctx, w.Key, s.ID, in.Name, time.Now().UnixMilli()+1000*in.SecondsToLive)
	if err != nil {
		return 0, nil, errors.Join(err, a.Accounts.DeleteServiceAccount(ctx, w.Key, s.ID))
	}
	return http.StatusOK, map[string]any{"keyName": in.Name, "key": text, "workspaceId": w.ID}, nil
}

func (a *amg) deleteKey(c *api.Call) (int, any, error) {
	w, err := a.workspace(c)
	if err != nil {
		return 0, nil, err
	}
	ctx, name := c.Request.Context(), c.Params["keyName"]
	list, err := a.Accounts.ServiceAccounts(ctx, w.Key)
	if err != nil {
		return 0, nil, err
	}
	for _, s := range list {
		if s.Name == keyPrefix+name {
			return http.StatusOK, map[string]any{"keyName": name, "workspaceId": w.ID}, a.Accounts.DeleteServiceAccount(ctx, w.Key, s.ID)
		}
	}
	return 0, nil, missing(name, typeKey)
}
