package iamapi

import (
	"context"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
)

type boundaryOutput struct{ PermissionsBoundaryType, PermissionsBoundaryArn string }

func boundaryOf(arn string) *boundaryOutput {
	if arn == "" {
		return nil
	}
	return &boundaryOutput{PermissionsBoundaryType: "Policy", PermissionsBoundaryArn: arn}
}

type userOutput struct {
	Path, UserName      string
	UserID              string `query:"UserId"`
	Arn                 string
	CreateDate          time.Time
	PermissionsBoundary *boundaryOutput
	Tags                []Tag
}

func userOf(u *iam.User) userOutput {
	return userOutput{Path: u.Path, UserName: u.Name, UserID: u.ID, Arn: u.ARN, CreateDate: u.Created,
		PermissionsBoundary: boundaryOf(u.Boundary), Tags: tagList(u.Tags)}
}

// usersOf writes users as lists have them: without boundaries and tags.
func usersOf(users []iam.User) []userOutput {
	out := make([]userOutput, len(users))
	for i := range users {
		out[i] = userOf(&users[i])
		out[i].PermissionsBoundary, out[i].Tags = nil, nil
	}
	return out
}

type createUser struct {
	UserName string `query:",required"`
	Path     string
	optionalBoundary
	tagsInput
}

func (in *createUser) target(p iam.Principal) target {
	return newARN(p, iam.KindUser, in.Path, in.UserName)
}

type listUsers struct{ listInput }

func (in *listUsers) target(p iam.Principal) target { return in.prefixed(p, iam.KindUser) }

type userResult struct{ User userOutput }

func (s *server) users() []api.Route {
	routes := []api.Route{
		route(s, "CreateUser", func(ctx context.Context, c *call, in *createUser) (any, error) {
			tags, err := in.tags()
			if err != nil {
				return nil, err
			}
			u, err := c.iam.AddUser(ctx, c.account, iam.UserSpec{Name: in.UserName, Path: in.Path, Boundary: in.PermissionsBoundary, Tags: tags})
			return userResult{userOf(&u)}, err
		}),
		route(s, "GetUser", func(ctx context.Context, c *call, in *selfInput) (any, error) {
			u, err := c.iam.User(ctx, c.account, in.UserName)
			return userResult{userOf(&u)}, err
		}),
		route(s, "ListUsers", func(ctx context.Context, c *call, in *listUsers) (any, error) {
			p, err := in.records()
			if err != nil {
				return nil, err
			}
			users, more, err := c.iam.Users(ctx, c.account, p)
			if err != nil {
				return nil, err
			}
			out := struct {
				Users []userOutput
				pageOutput
			}{Users: usersOf(users)}
			if more {
				out.pageOutput = goOn(users[len(users)-1].Name)
			}
			return out, nil
		}),
		route(s, "UpdateUser", func(ctx context.Context, c *call, in *struct {
			userInput
			NewPath, NewUserName *string
		}) (any, error) {
			return nil, c.iam.RenameUser(ctx, c.account, in.UserName, in.NewUserName, in.NewPath)
		}),
		route(s, "DeleteUser", func(ctx context.Context, c *call, in *userInput) (any, error) {
			return nil, c.iam.DeleteUser(ctx, c.account, in.UserName)
		}),
		route(s, "ListGroupsForUser", func(ctx context.Context, c *call, in *struct {
			userInput
			pageInput
		}) (any, error) {
			groups, err := c.iam.GroupsOf(ctx, c.account, in.UserName)
			if err != nil {
				return nil, err
			}
			return groupsPage(&in.pageInput, groups)
		}),
		route(s, "PutUserPermissionsBoundary", func(ctx context.Context, c *call, in *struct {
			userInput
			boundaryInput
		}) (any, error) {
			return nil, c.iam.SetBoundary(ctx, c.ref, in.PermissionsBoundary)
		}),
		route(s, "DeleteUserPermissionsBoundary", func(ctx context.Context, c *call, _ *userInput) (any, error) {
			return nil, c.iam.SetBoundary(ctx, c.ref, "")
		}),
		route(s, "TagUser", tag[struct {
			userInput
			tagsInput
		}]),
		route(s, "UntagUser", untag[struct {
			userInput
			tagKeysInput
		}]),
		route(s, "ListUserTags", listTags[struct {
			userInput
			pageInput
		}]),
	}
	return append(append(append(routes, s.userPolicies()...), s.keys()...), s.absent()...)
}

func (s *server) userPolicies() []api.Route {
	type policy struct {
		userInput
		policyArnInput
	}
	type inline struct {
		userInput
		inlineInput
	}
	return []api.Route{
		route(s, "AttachUserPolicy", attach[policy]),
		route(s, "DetachUserPolicy", detach[policy]),
		route(s, "ListAttachedUserPolicies", listAttached[struct {
			userInput
			attachedInput
		}]),
		route(s, "PutUserPolicy", putInline[struct {
			userInput
			inlineInput
			documentInput
		}]),
		route(s, "GetUserPolicy", func(ctx context.Context, c *call, in *inline) (any, error) {
			text, err := c.iam.InlinePolicy(ctx, c.ref, in.PolicyName)
			return struct{ UserName, PolicyName, PolicyDocument string }{in.UserName, in.PolicyName, encodeDocument(text)}, err
		}),
		route(s, "DeleteUserPolicy", deleteInline[inline]),
		route(s, "ListUserPolicies", listInline[struct {
			userInput
			pageInput
		}]),
	}
}

type keyOutput struct {
	UserName        string
	AccessKeyID     string `query:"AccessKeyId"`
	Status          string
	SecretAccessKey string
	CreateDate      time.Time
}

func keyStatus(active bool) string {
	if active {
		return "Active"
	}
	return "Inactive"
}

// keyInput names a key of the caller, or of another user.
type keyInput struct {
	selfInput
	AccessKeyID string `query:"AccessKeyId,required"`
}

func (s *server) keys() []api.Route {
	return []api.Route{
		route(s, "CreateAccessKey", func(ctx context.Context, c *call, in *selfInput) (any, error) {
			k, err := c.iam.CreateAccessKey(ctx, c.account, in.UserName)
			if err != nil {
				return nil, err
			}
			info, err := c.iam.AccessKeyInfo(ctx, c.account, k.ID)
			return struct{ AccessKey keyOutput }{keyOutput{UserName: in.UserName, AccessKeyID: k.ID, Status: keyStatus(true),
				SecretAccessKey: k.Secret, CreateDate: info.Created}}, err
		}),
		route(s, "ListAccessKeys", func(ctx context.Context, c *call, in *struct {
			selfInput
			pageInput
		}) (any, error) {
			keys, err := c.iam.AccessKeys(ctx, c.account, in.UserName)
			if err != nil {
				return nil, err
			}
			keys, p, err := cut(&in.pageInput, keys, func(k iam.AccessKeyInfo) string { return k.ID })
			out := struct {
				AccessKeyMetadata []keyOutput
				pageOutput
			}{make([]keyOutput, len(keys)), p}
			for i, k := range keys {
				out.AccessKeyMetadata[i] = keyOutput{UserName: k.UserName, AccessKeyID: k.ID, Status: keyStatus(k.Active), CreateDate: k.Created}
			}
			return out, err
		}),
		route(s, "UpdateAccessKey", func(ctx context.Context, c *call, in *struct {
			keyInput
			Status string `query:",required"`
		}) (any, error) {
			if in.Status != keyStatus(true) && in.Status != keyStatus(false) {
				return nil, invalid("1 validation error detected: Value '%.50s' at 'status' failed to satisfy constraint: "+
					"Member must satisfy enum value set: [Active, Inactive]", in.Status)
			}
			return nil, c.iam.UpdateAccessKey(ctx, c.account, in.UserName, in.AccessKeyID, in.Status == keyStatus(true))
		}),
		route(s, "DeleteAccessKey", func(ctx context.Context, c *call, in *keyInput) (any, error) {
			return nil, c.iam.RemoveAccessKey(ctx, c.account, in.UserName, in.AccessKeyID)
		}),
		s.accessKeyLastUsed(),
	}
}

type lastUsedInput struct {
	AccessKeyID string `query:"AccessKeyId,required"`
}

// target is the user whose key it is, which the router finds out below.
func (in *lastUsedInput) target(p iam.Principal) target {
	return newARN(p, iam.KindUser, "/", "*")
}

func (s *server) accessKeyLastUsed() api.Route {
	r := route(s, "GetAccessKeyLastUsed", func(ctx context.Context, c *call, in *lastUsedInput) (any, error) {
		k, err := c.iam.AccessKeyInfo(ctx, c.account, in.AccessKeyID)
		if err != nil {
			return nil, err
		}
		type lastUsed struct {
			LastUsedDate        time.Time
			ServiceName, Region string
		}
		used := lastUsed{k.LastUsed.At, k.LastUsed.Service, k.LastUsed.Region}
		if used.LastUsedDate.IsZero() {
			used = lastUsed{ServiceName: "N/A", Region: "N/A"}
		}
		return struct {
			UserName          string
			AccessKeyLastUsed lastUsed
		}{k.UserName, used}, nil
	})
	// The resource is the key's owner, which only the records know. A caller
	// that may not ask for all users does not learn that a key is not there.
	byPath := r.Resource
	r.Resource = func(c *api.Call) (string, error) {
		k, err := s.identity.AccessKeyInfo(c.Request.Context(), c.Principal.AccountID, c.Form.Get("AccessKeyId"))
		if err != nil {
			return byPath(c)
		}
		return s.resource(c.Request.Context(), target{ref: iam.UserRef(c.Principal.AccountID, k.UserName)})
	}
	return r
}

// absent answers what tools ask before they delete a user: kinds of credentials
// that do not exist here.
func (s *server) absent() []api.Route {
	type list struct {
		selfInput
		pageInput
	}
	return []api.Route{
		route(s, "ListMFADevices", func(ctx context.Context, c *call, in *list) (any, error) {
			_, err := c.iam.User(ctx, c.account, in.UserName)
			return struct {
				MFADevices  []string
				IsTruncated bool
			}{MFADevices: []string{}}, err
		}),
		route(s, "ListVirtualMFADevices", func(context.Context, *call, *struct {
			everything
			pageInput
			AssignmentStatus string
		}) (any, error) {
			return struct {
				VirtualMFADevices []string
				IsTruncated       bool
			}{VirtualMFADevices: []string{}}, nil
		}),
		route(s, "ListSSHPublicKeys", func(ctx context.Context, c *call, in *list) (any, error) {
			_, err := c.iam.User(ctx, c.account, in.UserName)
			return struct {
				SSHPublicKeys []string
				IsTruncated   bool
			}{SSHPublicKeys: []string{}}, err
		}),
		route(s, "ListSigningCertificates", func(ctx context.Context, c *call, in *list) (any, error) {
			_, err := c.iam.User(ctx, c.account, in.UserName)
			return struct {
				Certificates []string
				IsTruncated  bool
			}{Certificates: []string{}}, err
		}),
		route(s, "ListServiceSpecificCredentials", func(ctx context.Context, c *call, in *struct {
			list
			ServiceName string
			AllUsers    bool
		}) (any, error) {
			_, err := c.iam.User(ctx, c.account, in.UserName)
			return struct{ ServiceSpecificCredentials []string }{[]string{}}, err
		}),
		route(s, "GetLoginProfile", noLogin),
		route(s, "DeleteLoginProfile", noLogin),
	}
}

func noLogin(ctx context.Context, c *call, in *selfInput) (any, error) {
	if _, err := c.iam.User(ctx, c.account, in.UserName); err != nil {
		return nil, err
	}
	return nil, &iam.Error{Kind: iam.ErrNoSuchEntity, Message: "Login Profile for User " + in.UserName + " cannot be found."}
}
