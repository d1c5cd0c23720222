// Package credentials holds an access key, as the package of this name in version
// 1 of the AWS SDK does for a static one.
package credentials

import "github.com/aws/aws-sdk-go-v2/aws"

// Credentials are an access key. They are safe for concurrent use.
type Credentials struct{ value aws.Credentials }

// NewStaticCredentials returns an access key; token is that of a session, or "".
func NewStaticCredentials(id, secret, token string) *Credentials {
	return &Credentials{aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token, Source: "StaticCredentials"}}
}

// Value returns the key in version 2's form.
func (c *Credentials) Value() aws.Credentials { return c.value }
