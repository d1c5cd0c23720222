package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func managedSource(b *testing.B, name string) Source {
	b.Helper()
	arn := "arn:aws:iam::aws:policy/" + name
	d, ok := Managed(arn)
	require.True(b, ok)
	return Source{arn, d}
}

func BenchmarkEvaluate(b *testing.B) {
	context := values{
		"aws:sourceip": {"10.1.2.3"}, "aws:securetransport": {"true"}, "aws:currenttime": {"2026-03-01T12:00:00Z"}, "aws:epochtime": {"1772366400"},
		"aws:useragent": {"Prometheus/3.0"}, "aws:requestedregion": {"us-east-1"}, "aws:resourceaccount": {"111111111111"}, "aws:username": {"u"},
		"aws:principalarn": {user.ARN}, "aws:principalaccount": {"111111111111"}, "aws:userid": {"AIDAEXAMPLE"}, "aws:principaltype": {"User"},
		"aws:resourcetag/team": {"blue"}, "aws:principaltag/team": {"blue"},
	}
	write := Request{Principal: session, Action: "aps:RemoteWrite", Resource: workspace, Context: context}
	own := Source{"inline:own", mustParse(b, Identity, statement(
		`"Effect":"Allow","Action":["aps:RemoteWrite","aps:Get*","aps:QueryMetrics"],"Resource":"arn:aws:aps:*:111111111111:workspace/ws-*",`+
			`"Condition":{"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"},"IpAddress":{"aws:SourceIp":["10.0.0.0/8","192.168.0.0/16"]},"Bool":{"aws:SecureTransport":"true"}}`))}
	var many []string
	for i := range 50 {
		many = append(many, fmt.Sprintf(`{"Effect":"Allow","Action":["svc%d:Get*","svc%d:List*"],"Resource":"arn:aws:svc%d:*:*:thing/*"}`, i, i, i))
	}
	large := Source{"inline:large", mustParse(b, Identity, `{"Version":"2012-10-17","Statement":[`+strings.Join(many, ",")+`]}`)}
	boundary := managedSource(b, "PowerUserAccess")
	for name, set := range map[string]Set{
		"managed":           {Identity: []Source{managedSource(b, "AmazonPrometheusRemoteWriteAccess")}},
		"conditions":        {Identity: []Source{own}},
		"boundary_session":  {Identity: []Source{own}, Boundary: &boundary, Session: []Source{managedSource(b, "AmazonPrometheusRemoteWriteAccess")}},
		"hundred_actions":   {Identity: []Source{large, own}},
		"denied_implicitly": {Identity: []Source{managedSource(b, "AmazonPrometheusQueryAccess")}},
	} {
		b.Run(name, func(b *testing.B) {
			want := name != "denied_implicitly"
			b.ReportAllocs()
			for b.Loop() {
				if d := Evaluate(write, set); d.Allowed != want {
					b.Fatal(d)
				}
			}
		})
	}
}

// BenchmarkWorstPattern is the most that a policy of 6144 characters can cost
// for a resource of 2048.
func BenchmarkWorstPattern(b *testing.B) {
	for name, p := range map[string]string{
		"stars":     strings.Repeat("a*", 3000) + "b",
		"questions": "*" + strings.Repeat("?a", 1000) + "b*",
		"crossing":  "arn:*:x:*:*:" + strings.Repeat("a*", 3000) + "b",
	} {
		b.Run(name, func(b *testing.B) {
			compiled, err := compilePattern(p, true, false)
			require.NoError(b, err)
			arn, err := compileARN(p, false)
			require.NoError(b, err)
			text, colons := strings.Repeat("a", 2048), "arn:aws:x:"+strings.Repeat("a:", maxColons-3)+strings.Repeat("a", 1900)
			for b.Loop() {
				if name != "crossing" {
					glob(compiled.tokens, text)
				} else {
					arn.matchResource(&evaluation{}, colons)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	doc, _ := Managed("arn:aws:iam::aws:policy/AmazonPrometheusFullAccess")
	text := []byte(doc.String())
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text, CustomerManaged); err != nil {
			b.Fatal(err)
		}
	}
}
