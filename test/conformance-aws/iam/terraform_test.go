package iam_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/stretchr/testify/require"
)

// These tests make the calls that Terraform's AWS provider makes, in its order,
// for the life of a resource: create, read, change, read, destroy. What it reads
// back has to be what it wrote, or the next plan shows a difference.

func TestTerraformUser(t *testing.T) {
	c, _, _ := open(t)
	ctx, s, name := context.Background(), aws.String, aws.String("tf-user")
	tags := []types.Tag{{Key: s("team"), Value: s("obs")}}
	made, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: name, Path: s("/"), Tags: tags})
	require.NoError(t, err)
	require.NotEmpty(t, *made.User.UserId)
	read := func() *types.User {
		got, err := c.GetUser(ctx, &sdk.GetUserInput{UserName: name})
		require.NoError(t, err)
		return got.User
	}
	require.Equal(t, tags, read().Tags)
	require.Nil(t, read().PermissionsBoundary)
	listed, err := c.ListUserTags(ctx, &sdk.ListUserTagsInput{UserName: name})
	require.NoError(t, err)
	require.Equal(t, tags, listed.Tags)

	boundary := s("arn:aws:iam::aws:policy/AmazonPrometheusFullAccess")
	_, err = c.UpdateUser(ctx, &sdk.UpdateUserInput{UserName: name, NewUserName: name, NewPath: s("/teams/")})
	require.NoError(t, err)
	_, err = c.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: boundary})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:iam::000000000000:user/teams/tf-user", *read().Arn)
	require.Equal(t, boundary, read().PermissionsBoundary.PermissionsBoundaryArn)
	_, err = c.UntagUser(ctx, &sdk.UntagUserInput{UserName: name, TagKeys: []string{"team"}})
	require.NoError(t, err)
	_, err = c.TagUser(ctx, &sdk.TagUserInput{UserName: name, Tags: []types.Tag{{Key: s("env"), Value: s("prod")}}})
	require.NoError(t, err)
	_, err = c.DeleteUserPermissionsBoundary(ctx, &sdk.DeleteUserPermissionsBoundaryInput{UserName: name})
	require.NoError(t, err)
	require.Nil(t, read().PermissionsBoundary)

	// force_destroy takes away all that a user can have.
	key, err := c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name})
	require.NoError(t, err)
	_, err = c.ListGroupsForUser(ctx, &sdk.ListGroupsForUserInput{UserName: name})
	require.NoError(t, err)
	keys, err := c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: name})
	require.NoError(t, err)
	require.Equal(t, key.AccessKey.AccessKeyId, keys.AccessKeyMetadata[0].AccessKeyId)
	_, err = c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: name, AccessKeyId: key.AccessKey.AccessKeyId})
	require.NoError(t, err)
	ssh, err := c.ListSSHPublicKeys(ctx, &sdk.ListSSHPublicKeysInput{UserName: name})
	require.NoError(t, err)
	require.Empty(t, ssh.SSHPublicKeys)
	virtual, err := c.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{AssignmentStatus: types.AssignmentStatusTypeAssigned})
	require.NoError(t, err)
	require.Empty(t, virtual.VirtualMFADevices)
	mfa, err := c.ListMFADevices(ctx, &sdk.ListMFADevicesInput{UserName: name})
	require.NoError(t, err)
	require.Empty(t, mfa.MFADevices)
	var none *types.NoSuchEntityException
	_, err = c.DeleteLoginProfile(ctx, &sdk.DeleteLoginProfileInput{UserName: name})
	require.ErrorAs(t, err, &none)
	certificates, err := c.ListSigningCertificates(ctx, &sdk.ListSigningCertificatesInput{UserName: name})
	require.NoError(t, err)
	require.Empty(t, certificates.Certificates)
	own, err := c.ListServiceSpecificCredentials(ctx, &sdk.ListServiceSpecificCredentialsInput{UserName: name})
	require.NoError(t, err)
	require.Empty(t, own.ServiceSpecificCredentials)
	_, err = c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name})
	require.NoError(t, err)
	_, err = c.GetUser(ctx, &sdk.GetUserInput{UserName: name})
	require.ErrorAs(t, err, &none)
}

func TestTerraformRole(t *testing.T) {
	c, _, _ := open(t)
	ctx, s, name := context.Background(), aws.String, aws.String("tf-role")
	_, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: name, Path: s("/"), AssumeRolePolicyDocument: s(trust), Description: s("d"), MaxSessionDuration: aws.Int32(3600)})
	require.NoError(t, err)
	read := func() *types.Role {
		got, err := c.GetRole(ctx, &sdk.GetRoleInput{RoleName: name})
		require.NoError(t, err)
		return got.Role
	}
	text, err := url.QueryUnescape(*read().AssumeRolePolicyDocument)
	require.NoError(t, err)
	require.Equal(t, trust, text)
	inline, err := c.ListRolePolicies(ctx, &sdk.ListRolePoliciesInput{RoleName: name})
	require.NoError(t, err)
	require.Empty(t, inline.PolicyNames)
	attached, err := c.ListAttachedRolePolicies(ctx, &sdk.ListAttachedRolePoliciesInput{RoleName: name})
	require.NoError(t, err)
	require.Empty(t, attached.AttachedPolicies)

	_, err = c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: s(trust)})
	require.NoError(t, err)
	_, err = c.UpdateRoleDescription(ctx, &sdk.UpdateRoleDescriptionInput{RoleName: name, Description: s("other")})
	require.NoError(t, err)
	_, err = c.UpdateRole(ctx, &sdk.UpdateRoleInput{RoleName: name, MaxSessionDuration: aws.Int32(7200)})
	require.NoError(t, err)
	require.EqualValues(t, 7200, *read().MaxSessionDuration)
	_, err = c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: name, PolicyName: s("inline"), PolicyDocument: s(doc)})
	require.NoError(t, err)
	got, err := c.GetRolePolicy(ctx, &sdk.GetRolePolicyInput{RoleName: name, PolicyName: s("inline")})
	require.NoError(t, err)
	text, err = url.QueryUnescape(*got.PolicyDocument)
	require.NoError(t, err)
	require.Equal(t, doc, text)

	// A policy is changed by a new version; the oldest goes when there are five.
	made, err := c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: s("tf-policy"), Path: s("/"), PolicyDocument: s(doc)})
	require.NoError(t, err)
	arn := made.Policy.Arn
	for range 6 {
		versions, err := c.ListPolicyVersions(ctx, &sdk.ListPolicyVersionsInput{PolicyArn: arn})
		require.NoError(t, err)
		if len(versions.Versions) == 5 {
			oldest := versions.Versions[0]
			for _, v := range versions.Versions {
				if !v.IsDefaultVersion && v.CreateDate.Before(*oldest.CreateDate) || oldest.IsDefaultVersion {
					oldest = v
				}
			}
			_, err = c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: oldest.VersionId})
			require.NoError(t, err)
		}
		_, err = c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: s(doc), SetAsDefault: true})
		require.NoError(t, err)
	}
	p, err := c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: arn})
	require.NoError(t, err)
	v, err := c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: arn, VersionId: p.Policy.DefaultVersionId})
	require.NoError(t, err)
	text, err = url.QueryUnescape(*v.PolicyVersion.Document)
	require.NoError(t, err)
	require.Equal(t, doc, text)
	_, err = c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: name, PolicyArn: arn})
	require.NoError(t, err)

	// Destroy.
	_, err = c.DetachRolePolicy(ctx, &sdk.DetachRolePolicyInput{RoleName: name, PolicyArn: arn})
	require.NoError(t, err)
	_, err = c.DeleteRolePolicy(ctx, &sdk.DeleteRolePolicyInput{RoleName: name, PolicyName: s("inline")})
	require.NoError(t, err)
	profiles, err := c.ListInstanceProfilesForRole(ctx, &sdk.ListInstanceProfilesForRoleInput{RoleName: name})
	require.NoError(t, err)
	require.Empty(t, profiles.InstanceProfiles)
	_, err = c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: name})
	require.NoError(t, err)
	var none *types.NoSuchEntityException
	_, err = c.GetRole(ctx, &sdk.GetRoleInput{RoleName: name})
	require.ErrorAs(t, err, &none)
	versions, err := c.ListPolicyVersions(ctx, &sdk.ListPolicyVersionsInput{PolicyArn: arn})
	require.NoError(t, err)
	for _, v := range versions.Versions {
		if !v.IsDefaultVersion {
			_, err = c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: v.VersionId})
			require.NoError(t, err)
		}
	}
	_, err = c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn})
	require.NoError(t, err)
}

func TestTerraformProvider(t *testing.T) {
	c, _, _ := open(t)
	ctx, s := context.Background(), aws.String
	made, err := c.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: s("https://oidc.test/id/TF"), ClientIDList: []string{"sts.amazonaws.com"},
		ThumbprintList: []string{"9e99a48a9960b14926bb7f3b02e22da2b0ab7280"}, Tags: []types.Tag{{Key: s("k"), Value: s("v")}}})
	require.NoError(t, err)
	arn := made.OpenIDConnectProviderArn
	read := func() *sdk.GetOpenIDConnectProviderOutput {
		got, err := c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
		require.NoError(t, err)
		return got
	}
	require.Equal(t, []string{"9e99a48a9960b14926bb7f3b02e22da2b0ab7280"}, read().ThumbprintList)
	require.Len(t, read().Tags, 1)
	_, err = c.UpdateOpenIDConnectProviderThumbprint(ctx, &sdk.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: arn,
		ThumbprintList: []string{"cf23df2207d99a74fbe169e3eba035e633b65d94"}})
	require.NoError(t, err)
	_, err = c.AddClientIDToOpenIDConnectProvider(ctx, &sdk.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: s("other")})
	require.NoError(t, err)
	_, err = c.RemoveClientIDFromOpenIDConnectProvider(ctx, &sdk.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: s("sts.amazonaws.com")})
	require.NoError(t, err)
	require.Equal(t, []string{"cf23df2207d99a74fbe169e3eba035e633b65d94"}, read().ThumbprintList)
	require.Equal(t, []string{"other"}, read().ClientIDList)
	_, err = c.UntagOpenIDConnectProvider(ctx, &sdk.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, TagKeys: []string{"k"}})
	require.NoError(t, err)
	_, err = c.DeleteOpenIDConnectProvider(ctx, &sdk.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	require.NoError(t, err)
	var none *types.NoSuchEntityException
	_, err = c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	require.ErrorAs(t, err, &none)
}
