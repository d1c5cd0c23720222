package ssoapi

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/server/api"
)

// NewDirectory returns what AWS has in its console only.
func NewDirectory(dir *directory.Directory) (api.Service, error) {
	if dir == nil {
		return api.Service{}, errors.New("ssoapi: a directory is required")
	}
	h := &handlers{dir}
	const s = ServiceDirectory
	return api.Service{Name: s, Protocol: api.JSON11, TargetPrefix: TargetDirectory, Routes: []api.Route{
		route(h, s, "DisableUser", setDisabled(true)),
		route(h, s, "EnableUser", setDisabled(false)),
		route(h, s, "SetAdministrator", setAdministrator),
		route(h, s, "CreateBearerToken", createToken),
		route(h, s, "ListBearerTokens", listTokens),
		route(h, s, "DeleteBearerToken", deleteToken),
	}}, nil
}

func setDisabled(to bool) func(context.Context, *call, *userInput) (any, error) {
	return func(ctx context.Context, c *call, in *userInput) (any, error) {
		u, err := c.dir.UpdateUser(ctx, c.by, c.store.ID, in.UserID, directory.UserUpdate{Disabled: &to})
		return userRef{c.store.ID, u.ID}, err
	}
}

type administratorInput struct {
	userInput
	Administrator bool
}

func setAdministrator(ctx context.Context, c *call, in *administratorInput) (any, error) {
	u, err := c.dir.UpdateUser(ctx, c.by, c.store.ID, in.UserID, directory.UserUpdate{Administrator: &in.Administrator})
	return userRef{c.store.ID, u.ID}, err
}

type tokenOutput struct {
	TokenID   string `json:"TokenId"`
	CreatedAt json.RawMessage
	CreatedBy string
	ExpiresAt json.RawMessage
	UsedAt    json.RawMessage `json:",omitempty"`
}

func tokenOf(t directory.Token) tokenOutput {
	out := tokenOutput{TokenID: t.ID, CreatedAt: seconds(t.Created), CreatedBy: t.CreatedBy, ExpiresAt: seconds(t.Expires)}
	if !t.Used.IsZero() {
		out.UsedAt = seconds(t.Used)
	}
	return out
}

func createToken(ctx context.Context, c *call, _ *inStore) (any, error) {
	secret, t, err := c.dir.CreateToken(ctx, c.by, c.store.ID)
	return struct {
		BearerToken string
		tokenOutput
	}{secret, tokenOf(t)}, err
}

func listTokens(ctx context.Context, c *call, _ *inStore) (any, error) {
	list, err := c.dir.Tokens(ctx, c.store.ID)
	out := struct{ BearerTokens []tokenOutput }{make([]tokenOutput, len(list))}
	for i, t := range list {
		out.BearerTokens[i] = tokenOf(t)
	}
	return out, err
}

type tokenInput struct {
	inStore
	TokenID string `json:"TokenId"`
}

func deleteToken(ctx context.Context, c *call, in *tokenInput) (any, error) {
	return nil, c.dir.DeleteToken(ctx, c.store.ID, in.TokenID)
}
