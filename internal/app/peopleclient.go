package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/mangru/mangru/internal/server/ssoapi"
)

// peopleClient calls the services about people, in the account's identity store.
type peopleClient struct {
	*awsClient
	storeID string
}

// people finds out where to call, as whom, and which identity store there is.
func (f *awsFlags) people(ctx context.Context) (*peopleClient, error) {
	c, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	p := &peopleClient{awsClient: c}
	var out struct {
		Instances []struct {
			IdentityStoreID string `json:"IdentityStoreId"`
		}
	}
	if err := p.json11(ctx, ssoapi.ServiceSSO, ssoapi.TargetSSO, "ListInstances", struct{}{}, &out); err != nil {
		return nil, err
	}
	if len(out.Instances) == 0 {
		return nil, errors.New("the account has no identity store: IAM Identity Center is not enabled")
	}
	p.storeID = out.Instances[0].IdentityStoreID
	return p, nil
}

// json11 calls an operation of the JSON 1.1 protocol.
func (c *awsClient) json11(ctx context.Context, service, target, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	base, region := c.address(service)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target+"."+operation)
	return c.exchange(req, service, region, operation, out)
}

// identityStore calls an operation of the Identity Store.
func (c *peopleClient) identityStore(ctx context.Context, operation string, in map[string]any, out any) error {
	in["IdentityStoreId"] = c.storeID
	return c.json11(ctx, ssoapi.ServiceIdentityStore, ssoapi.TargetIdentityStore, operation, in, out)
}

// directory calls an operation that AWS has in its console only.
func (c *peopleClient) directory(ctx context.Context, operation string, in map[string]any, out any) error {
	if c.endpoint == "" {
		return fmt.Errorf("%s: Amazon has this in its console only", operation)
	}
	in["IdentityStoreId"] = c.storeID
	return c.json11(ctx, ssoapi.ServiceDirectory, ssoapi.TargetDirectory, operation, in, out)
}

// personID finds a person by user name.
func (c *peopleClient) personID(ctx context.Context, name string) (string, error) {
	var out struct {
		UserID string `json:"UserId"`
	}
	err := c.identityStore(ctx, "GetUserId", map[string]any{"AlternateIdentifier": uniqueAttribute("userName", name)}, &out)
	if isCode(err, "ResourceNotFoundException") {
		return "", fmt.Errorf("there is no person %q; mangru person list shows those there are", name)
	}
	return out.UserID, err
}

// groupID finds a group by name.
func (c *peopleClient) groupID(ctx context.Context, name string) (string, error) {
	var out struct {
		GroupID string `json:"GroupId"`
	}
	err := c.identityStore(ctx, "GetGroupId", map[string]any{"AlternateIdentifier": uniqueAttribute("displayName", name)}, &out)
	if isCode(err, "ResourceNotFoundException") {
		return "", fmt.Errorf("there is no group %q; mangru person group list shows those there are", name)
	}
	return out.GroupID, err
}

func uniqueAttribute(path, value string) map[string]any {
	return map[string]any{"UniqueAttribute": map[string]any{"AttributePath": path, "AttributeValue": value}}
}

// listAll calls a listing operation until there is no more.
func listAll[P any](ctx context.Context, c *peopleClient, operation string, in map[string]any, take func(*P) (next string)) error {
	for {
		var out P
		if err := c.identityStore(ctx, operation, in, &out); err != nil {
			return err
		}
		next := take(&out)
		if next == "" {
			return nil
		}
		in["NextToken"] = next
	}
}
