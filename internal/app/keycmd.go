package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newKeyCmd() *cobra.Command {
	f := &awsFlags{}
	return group("key", "Manage users' access keys",
		"A user has at most two access keys, so that one can be changed for the other without a gap: rotate makes the\n"+
			"second, and once nothing uses the first (list shows the last use), disable and delete take it away.", f,
		newKeyCreateCmd(f), newKeyListCmd(f), newKeyRotateCmd(f),
		newKeyStatusCmd(f, "enable", "Active", "Let a key be used again"), newKeyStatusCmd(f, "disable", "Inactive", "Keep a key from being used"),
		newKeyDeleteCmd(f))
}

// accessKey is an access key in lists.
type accessKey struct {
	UserName, AccessKeyId, Status string

	CreateDate time.Time
	LastUsed   *keyLastUsed `json:"AccessKeyLastUsed,omitempty" query:"-"`
}

type keyLastUsed struct {
	LastUsedDate        *time.Time `json:",omitempty"`
	ServiceName, Region string
}

// newKey is an access key at the one time that its secret is shown.
type newKey struct {
	UserName, AccessKeyId, SecretAccessKey, Status string

	CreateDate time.Time
}

func (c *awsClient) accessKeys(ctx context.Context, user string) ([]accessKey, error) {
	keys := []accessKey{}
	err := listPages(ctx, c, "ListAccessKeys", url.Values{"UserName": {user}}, func(p *struct {
		AccessKeyMetadata []accessKey
		page
	}) page {
		keys = append(keys, p.AccessKeyMetadata...)
		return p.page
	})
	return keys, err
}

// lastUsed says who owns a key and when it was used.
func (c *awsClient) lastUsed(ctx context.Context, id string) (user string, at keyLastUsed, err error) {
	var out struct {
		UserName          string
		AccessKeyLastUsed struct{ LastUsedDate, ServiceName, Region string }
	}
	if err := c.iam(ctx, "GetAccessKeyLastUsed", url.Values{"AccessKeyId": {id}}, &out); err != nil {
		return "", at, err
	}
	at.ServiceName, at.Region = out.AccessKeyLastUsed.ServiceName, out.AccessKeyLastUsed.Region
	if text := out.AccessKeyLastUsed.LastUsedDate; text != "" {
		used, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return "", at, fmt.Errorf("time of the last use of %s: %w", id, err)
		}
		at.LastUsedDate = &used
	}
	return out.UserName, at, nil
}

func (c *awsClient) createKey(ctx context.Context, user string) (newKey, error) {
	var out struct{ AccessKey newKey }
	err := c.iam(ctx, "CreateAccessKey", url.Values{"UserName": {user}}, &out)
	if isCode(err, "LimitExceeded") {
		err = fmt.Errorf("%w; delete one that is not in use any more: mangru key list %s", err, user)
	}
	return out.AccessKey, err
}

// keep shows a new key, or writes it to a file and shows where.
func (k newKey) keep(cmd *cobra.Command, f *awsFlags, file string) error {
	if file == "" {
		return f.show(cmd, struct{ AccessKey newKey }{k}, func(t *table) {
			t.row("User", k.UserName)
			t.row("Access key", k.AccessKeyId)
			t.row("Secret key", k.SecretAccessKey)
			t.text("The secret key is shown this once.")
		})
	}
	if err := writeCredentials(file, credentials{AccessKey: k.AccessKeyId, SecretKey: k.SecretAccessKey}); err != nil {
		return fmt.Errorf("%w; the key %s was made: delete it with mangru key delete", err, k.AccessKeyId)
	}
	shown := map[string]string{"UserName": k.UserName, "AccessKeyId": k.AccessKeyId, "File": file}
	return f.done(cmd, shown, "access key %s of user %s written to %s", k.AccessKeyId, k.UserName, file)
}

func writeFlag(c *cobra.Command) *string {
	return c.Flags().String("write", "", "write the key to this file (AWS shared credentials format, mode 0600) instead of showing it; the file must not exist")
}

// checkNew refuses a file that is there already.
func checkNew(file string) error {
	if file == "" {
		return nil
	}
	if _, err := os.Lstat(file); err == nil {
		return usagef("--write: %s exists already", file)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return usagef("--write: %w", err)
	}
	return nil
}

func newKeyCreateCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "create USER", Short: "Make an access key and show its secret, this once", Args: exactly("a user")}
	file := writeFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkNew(*file); err != nil {
			return err
		}
		c, err := f.client(cmd.Context())
		if err != nil {
			return err
		}
		k, err := c.createKey(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return k.keep(cmd, f, *file)
	}
	return c
}

func newKeyListCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "list USER", Short: "List a user's keys with their last use", Args: exactly("a user"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			keys, err := c.accessKeys(ctx, args[0])
			if err != nil {
				return err
			}
			for i := range keys {
				_, at, err := c.lastUsed(ctx, keys[i].AccessKeyId)
				if err != nil {
					return err
				}
				keys[i].LastUsed = &at
			}
			return f.show(cmd, struct{ AccessKeyMetadata []accessKey }{keys}, func(t *table) {
				t.row("KEY", "STATUS", "CREATED", "LAST USED", "FOR")
				for i := range keys {
					k := &keys[i]
					used, service := "never", ""
					if k.LastUsed.LastUsedDate != nil {
						used, service = day(*k.LastUsed.LastUsedDate), k.LastUsed.ServiceName+" "+k.LastUsed.Region
					}
					t.row(k.AccessKeyId, k.Status, day(k.CreateDate), used, service)
				}
			})
		}}
}

func newKeyRotateCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "rotate USER", Short: "Make a second key to change over to; the first works until it is disabled", Args: exactly("a user")}
	file := writeFlag(c)
	disable := c.Flags().Bool("disable-old", false, "disable the old key at once")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkNew(*file); err != nil {
			return err
		}
		ctx := cmd.Context()
		c, err := f.client(ctx)
		if err != nil {
			return err
		}
		old, err := c.accessKeys(ctx, args[0])
		if err != nil {
			return err
		}
		k, err := c.createKey(ctx, args[0])
		if err != nil {
			return err
		}
		if err := k.keep(cmd, f, *file); err != nil {
			return err
		}
		for _, o := range old {
			if *disable && o.Status == "Active" {
				if err := c.setKeyStatus(ctx, args[0], o.AccessKeyId, "Inactive"); err != nil {
					return err
				}
				continue
			}
			if f.output == "table" {
				cmd.Printf("Change over to it, then: mangru key disable %s\n", o.AccessKeyId)
			}
		}
		return nil
	}
	return c
}

func (c *awsClient) setKeyStatus(ctx context.Context, user, id, status string) error {
	return c.iam(ctx, "UpdateAccessKey", url.Values{"UserName": {user}, "AccessKeyId": {id}, "Status": {status}}, nil)
}

func newKeyStatusCmd(f *awsFlags, verb, status, short string) *cobra.Command {
	return &cobra.Command{Use: verb + " KEY", Short: short, Args: exactly("an access key id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			user, _, err := c.lastUsed(ctx, args[0])
			if err != nil {
				return err
			}
			if err := c.setKeyStatus(ctx, user, args[0], status); err != nil {
				return err
			}
			return f.done(cmd, map[string]string{"UserName": user, "AccessKeyId": args[0], "Status": status},
				"access key %s of user %s is %s", args[0], user, strings.ToLower(status))
		}}
}

func newKeyDeleteCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "delete KEY", Short: "Delete a key", Args: exactly("an access key id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			user, _, err := c.lastUsed(ctx, args[0])
			if err != nil {
				return err
			}
			if err := c.iam(ctx, "DeleteAccessKey", url.Values{"UserName": {user}, "AccessKeyId": {args[0]}}, nil); err != nil {
				return err
			}
			return f.done(cmd, map[string]string{"UserName": user, "AccessKeyId": args[0]}, "access key %s of user %s deleted", args[0], user)
		}}
}
