package policy

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func addDocuments(f *testing.F, add func(doc string)) {
	f.Helper()
	for _, p := range ManagedPolicies() {
		add(p.Document.String())
	}
	add(statement(`"Effect":"Allow","Principal":{"AWS":["123456789012","*"],"Service":"a.b","Federated":"accounts.google.com"},"Action":"sts:AssumeRole"`))
	add(statement(`"Sid":"a","Effect":"Deny","NotPrincipal":{"AWS":"123456789012"},"NotAction":["a:?","b:*"],"NotResource":"arn:aws:s3:::${aws:username, 'x'}"`))
	add(statement(`"Effect":"Deny","Action":"*","Resource":"*","Condition":{"ForAllValues:StringNotLike":{"aws:k":["a*","${*}"]},"DateLessThan":{"aws:t":"2026-01-01T00:00:00Z"},` +
		`"IpAddressIfExists":{"aws:k":"10.0.0.0/8"},"NumericEquals":{"aws:n":1},"Bool":{"aws:b":false},"Null":{"aws:c":"true"},"BinaryEquals":{"aws:k":"YQ=="},"ArnLike":{"aws:k":"arn:*:*:*:*:*"}}`))
}

// FuzzParse: whatever is accepted is JSON without surprises, and is accepted
// again; whatever is refused is refused with a MalformedError.
func FuzzParse(f *testing.F) {
	addDocuments(f, func(doc string) {
		for kind := Identity; kind <= Resource; kind++ {
			f.Add([]byte(doc), int(kind))
		}
	})
	f.Fuzz(func(t *testing.T, doc []byte, k int) {
		kind := Kind(k)
		d, err := Parse(doc, kind)
		if err != nil {
			var m *MalformedError
			require.True(t, errors.As(err, &m))
			require.NotEmpty(t, m.Message)
			require.Nil(t, d)
			if at, ok := PlaceOf(doc, err); ok {
				lines := strings.Split(string(doc), "\n")
				require.LessOrEqual(t, at.Column, len(lines[at.Line-1])+1)
			}
			return
		}
		require.True(t, json.Valid(doc))
		require.NotEmpty(t, d.Statements())
		lines := strings.Split(d.String(), "\n")
		for i := range d.statements {
			s := &d.statements[i]
			require.Contains(t, []Effect{Allow, Deny}, s.Effect)
			require.NotEmpty(t, s.actions)
			require.Equal(t, kind == Trust, len(s.resources) == 0)
			require.Equal(t, kind == Trust || kind == Resource, s.principals != nil)
			require.Equal(t, byte('{'), lines[s.Start.Line-1][s.Start.Column-1])
			require.Equal(t, byte('}'), lines[s.End.Line-1][s.End.Column-2])
			for j := range s.conditions {
				require.NotEqual(t, compareNothing, s.conditions[j].compare)
				require.NotEmpty(t, s.conditions[j].values)
			}
		}
		again, err := Parse([]byte(d.String()), kind)
		require.NoError(t, err)
		require.Equal(t, d.ContextKeys(), again.ContextKeys())
	})
}

// FuzzEvaluate: no document makes Evaluate fail, and a document that is denied
// by another one is denied.
func FuzzEvaluate(f *testing.F) {
	addDocuments(f, func(doc string) {
		f.Add([]byte(doc), "aps:RemoteWrite", workspace, "aws:k", "a", "10.0.0.1")
		f.Add([]byte(doc), "iam:PassRole", "arn:aws:iam::111111111111:role/a:b:c", "iam:passedtoservice", "grafana.amazonaws.com", "")
	})
	denyAll, err := Parse([]byte(statement(`"Effect":"Deny","Action":"*","Resource":"*"`)), Identity)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, doc []byte, action, resource, key, value, other string) {
		for kind := Identity; kind <= Resource; kind++ {
			d, err := Parse(doc, kind)
			if err != nil {
				continue
			}
			sources := []Source{{"fuzzed", d}}
			set := Set{Identity: sources}
			if kind == Trust || kind == Resource {
				set = Set{Resource: sources, Trust: kind == Trust}
			}
			context := values{strings.ToLower(key): {value, other}, "aws:username": {value}}
			for _, p := range []Principal{user, session, {Federated: "accounts.google.com"}, {Service: "a.b"}, {Anonymous: true}} {
				r := Request{Principal: p, Action: action, Resource: resource, Context: context}
				d := Evaluate(r, set)
				require.Equal(t, d.Allowed, d.Reason == "")
				for _, m := range d.Matched {
					require.False(t, d.Allowed && m.Effect == Deny)
				}
				stricter := set
				stricter.Identity = append([]Source{{"deny", denyAll}}, set.Identity...)
				require.False(t, Evaluate(r, stricter).Allowed)
			}
		}
	})
}
