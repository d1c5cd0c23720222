// Package ssoapi serves what is about people on the AWS listener: the Identity
// Store's API (`aws identitystore`), the part of IAM Identity Center's that tells
// scripts which identity store there is (`aws sso-admin`), and, as a service of
// ours, what AWS has in its console only: disabling, SCIM tokens.
// https://docs.aws.amazon.com/singlesignon/latest/IdentityStoreAPIReference/
package ssoapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/httpserver"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/server/api"
)

// The signing names and targets of the services.
const (
	ServiceIdentityStore = "identitystore"
	TargetIdentityStore  = "AWSIdentityStore"
	ServiceSSO           = "sso"
	TargetSSO            = "SWBExternalService"
	// ServiceDirectory is ours; its actions are those that AWS has for the
	// console.
	ServiceDirectory = "sso-directory"
	TargetDirectory  = "MangruDirectory"
)

// call is one call about an identity store, decoded and allowed.
type call struct {
	dir   *directory.Directory
	store directory.Store
	by    string // ARN of the caller
}

// subject is what a call is about, for its permission.
type subject struct {
	// store is as the caller named it.
	store string
	// kind and id are of the user, group or membership; empty for the store
	// itself.
	kind, id string
}

type input interface{ subject() subject }

// inStore is part of every input.
type inStore struct {
	IdentityStoreID string `json:"IdentityStoreId"`
}

func (in *inStore) subject() subject { return subject{store: in.IdentityStoreID} }

type handlers struct{ dir *directory.Directory }

// route makes the route of an operation from its input and what it does.
func route[T any, P interface {
	*T
	input
}](h *handlers, action string, name string, do func(ctx context.Context, c *call, in P) (any, error)) api.Route {
	decode := func(c *api.Call) (P, error) {
		text, err := io.ReadAll(c.Request.Body)
		if err != nil {
			return nil, err
		}
		c.Request.Body = io.NopCloser(bytes.NewReader(text))
		in := P(new(T))
		if len(bytes.TrimSpace(text)) == 0 {
			return in, nil
		}
		if err := json.Unmarshal(text, in); err != nil {
			return nil, &api.Error{Status: http.StatusBadRequest, Code: "SerializationException", Message: "The body is not the JSON expected: " + err.Error()}
		}
		return in, nil
	}
	return api.Route{
		Name: name, Action: action + ":" + name, OwnResource: true,
		Resource: func(c *api.Call) (string, error) {
			in, err := decode(c)
			if err != nil {
				return "", err
			}
			return h.resource(c, in.subject())
		},
		Handle: func(w http.ResponseWriter, c *api.Call) error {
			in, err := decode(c)
			if err != nil {
				return err
			}
			ctx := c.Request.Context()
			store, err := h.dir.Store(ctx, c.Principal.AccountID)
			if err != nil {
				return err
			}
			if named := in.subject().store; named != "" && named != store.ID {
				return toError(ctx, &directory.NotFoundError{Kind: directory.KindStore, ID: named})
			}
			out, err := do(ctx, &call{dir: h.dir, store: store, by: c.Principal.ARN}, in)
			if err != nil {
				return toError(ctx, err)
			}
			return write(w, out)
		},
	}
}

// resource returns the ARN that a call is authorised for. A store of another
// account is none of the caller's, whatever its policies say.
func (h *handlers) resource(c *api.Call, s subject) (string, error) {
	store, err := h.dir.Store(c.Request.Context(), c.Principal.AccountID)
	if err != nil {
		return "", err
	}
	switch {
	case s.store == "":
		return "", toError(c.Request.Context(), &directory.InvalidError{Field: "IdentityStoreId", Message: "is required"})
	case s.store != store.ID:
		return "", &iam.DeniedError{Principal: c.Principal.ARN, Action: "identitystore", Resource: s.store, Why: "no identity-based policy allows it"}
	case s.id == "":
		return store.ARN(), nil
	case s.kind == directory.KindUser:
		return "arn:aws:identitystore:::user/" + s.id, nil
	case s.kind == directory.KindGroup:
		return "arn:aws:identitystore:::group/" + s.id, nil
	}
	return "arn:aws:identitystore:::membership/" + s.id, nil
}

func write(w http.ResponseWriter, out any) error {
	if out == nil {
		out = struct{}{}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode an answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(text) // a caller that left is no error of ours
	return nil
}

// toError gives an error of the records AWS' code. Others stay as they are.
func toError(ctx context.Context, err error) error {
	var missing *directory.NotFoundError
	var invalid *directory.InvalidError
	var taken *directory.ConflictError
	var limit *directory.LimitError
	e := &api.Error{Status: http.StatusBadRequest, Extra: map[string]any{"RequestId": httpserver.RequestID(ctx)}}
	switch {
	case errors.As(err, &missing):
		e.Status, e.Code, e.Message = http.StatusNotFound, "ResourceNotFoundException", missing.Kind+" not found."
		e.Extra["ResourceType"], e.Extra["ResourceId"] = missing.Kind, missing.ID
	case errors.As(err, &invalid):
		e.Code, e.Message = "ValidationException", invalid.Error()
	case errors.As(err, &taken):
		e.Status, e.Code, e.Message = http.StatusConflict, "ConflictException", taken.Message
		e.Extra["Reason"] = "UNIQUENESS_CONSTRAINT_VIOLATION"
	case errors.As(err, &limit):
		e.Status, e.Code, e.Message = http.StatusPaymentRequired, "ServiceQuotaExceededException", limit.Message
	default:
		return err
	}
	e.Extra["Message"] = e.Message
	return e
}

// seconds writes a time as AWS' JSON has it, the milliseconds as fraction.
func seconds(t time.Time) json.RawMessage {
	return json.RawMessage(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
}
