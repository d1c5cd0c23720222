package policy

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func mustParse(t testing.TB, kind Kind, doc string) *Document {
	t.Helper()
	d, err := Parse([]byte(doc), kind)
	require.NoError(t, err)
	return d
}

// statement wraps members of one statement into a document of the present
// version.
func statement(members string) string {
	return `{"Version":"2012-10-17","Statement":[{` + members + `}]}`
}

func TestParseAccepts(t *testing.T) {
	const allowed = `"Effect":"Allow","Action":"aps:QueryMetrics","Resource":"*"`
	for name, c := range map[string]struct {
		kind Kind
		doc  string
	}{
		// "Statement: a single statement or an array of individual statements."
		"single statement":     {Identity, `{"Version":"2012-10-17","Statement":{` + allowed + `}}`},
		"list of statements":   {Identity, statement(allowed)},
		"white space":          {Identity, "\n\t" + statement(allowed) + "\n"},
		"no version":           {Identity, `{"Statement":[{` + allowed + `}]}`},
		"old version":          {Identity, `{"Version":"2008-10-17","Statement":[{` + allowed + `}]}`},
		"id":                   {Identity, `{"Id":"anything at all","Statement":[{` + allowed + `}]}`},
		"session or boundary":  {CustomerManaged, statement(allowed)},
		"sid":                  {Identity, statement(`"Sid":"Read1",` + allowed)},
		"empty sids":           {Identity, `{"Statement":[{"Sid":"",` + allowed + `},{"Sid":"",` + allowed + `}]}`},
		"lists":                {Identity, statement(`"Effect":"Deny","NotAction":["aps:*","iam:Get?ser"],"NotResource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]`)},
		"any action":           {Identity, statement(`"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:*"`)},
		"any partition":        {Identity, statement(`"Effect":"Allow","Action":"s3:*","Resource":"arn:*:s3:::b"`)},
		"variable":             {Identity, statement(`"Effect":"Allow","Action":"iam:*","Resource":"arn:aws:iam::*:user/${aws:username}"`)},
		"variable and default": {Identity, statement(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:PrincipalTag/team, 'company-wide'}*"`)},
		"escapes":              {Identity, statement(`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${*}${?}${$}"`)},
		"old version has no variables": {
			Identity, `{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${not closed"}}`,
		},
		"empty condition":          {Identity, statement(allowed + `,"Condition":{}`)},
		"operator without keys":    {Identity, statement(allowed + `,"Condition":{"StringEquals":{}}`)},
		"values that are no text":  {Identity, statement(allowed + `,"Condition":{"Bool":{"aws:SecureTransport":true},"NumericLessThan":{"aws:MultiFactorAuthAge":[3600,1.5e3]}}`)},
		"trust by account":         {Trust, statement(`"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"`)},
		"trust by everybody":       {Trust, statement(`"Effect":"Allow","Principal":"*","Action":["sts:AssumeRole","sts:TagSession"]`)},
		"trust with wildcard":      {Trust, statement(`"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:Assume*"`)},
		"trust by session":         {Trust, statement(`"Effect":"Allow","Principal":{"AWS":["arn:aws:sts::123456789012:assumed-role/r/s","arn:aws:iam::123456789012:role/p/r","arn:aws:iam::123456789012:user/u"]},"Action":"sts:AssumeRole"`)},
		"trust by service":         {Trust, statement(`"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]`)},
		"trust by federation":      {Trust, statement(`"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/issuer.example.com:8443/id/A"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"issuer.example.com:8443/id/A:sub":"system:serviceaccount:n:s"}}`)},
		"trust by known federator": {Trust, statement(`"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},"Action":"sts:AssumeRoleWithWebIdentity"`)},
		"resource":                 {Resource, statement(`"Sid":"any thing","Effect":"Allow","Principal":{"AWS":"123456789012","Service":"a.amazonaws.com"},"Action":"aps:*","Resource":"*"`)},
		"resource canonical":       {Resource, statement(`"Effect":"Allow","Principal":{"CanonicalUser":"` + strings.Repeat("0f", 32) + `"},"Action":"s3:*","Resource":"*"`)},
		"resource not principal":   {Resource, statement(`"Effect":"Deny","NotPrincipal":{"AWS":"123456789012"},"Action":"aps:*","Resource":"*"`)},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Parse([]byte(c.doc), c.kind)
			require.NoError(t, err)
			require.Equal(t, c.doc, d.String())
			require.Equal(t, c.kind, d.Kind())
			require.NotEmpty(t, d.Statements())
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		syntax  = "Syntax errors in policy."
		legacy  = "The policy failed legacy parsing"
		vendor  = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
		trust   = "AssumeRole policy may only specify STS AssumeRole actions."
		allowed = `"Effect":"Allow","Action":"s3:Get","Resource":"*"`
		who     = `"Principal":{"AWS":"123456789012"}`
		assume  = `"Effect":"Allow","Action":"sts:AssumeRole"`
	)
	cond := func(c string) string { return statement(allowed + `,"Condition":` + c) }
	for name, c := range map[string]struct {
		kind    Kind
		doc     string
		message string
	}{
		"no JSON":                 {Identity, "This is not JSON", syntax},
		"no JSON, trust":          {Trust, "{", "This policy contains invalid Json"},
		"empty":                   {Identity, "", syntax},
		"not UTF-8":               {Identity, statement(allowed + `,"Sid":"` + "\xff" + `"`), syntax},
		"two values":              {Identity, statement(allowed) + statement(allowed), syntax},
		"a list":                  {Identity, `[]`, syntax},
		"null":                    {Identity, `null`, syntax},
		"too large":               {Identity, statement(allowed) + strings.Repeat(" ", MaxBytes), syntax},
		"nested":                  {Identity, `{"Statement":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, syntax},
		"version of tomorrow":     {Identity, `{"Version":"2013-10-17","Statement":{` + allowed + `}}`, syntax},
		"version is a number":     {Identity, `{"Version":2012,"Statement":{` + allowed + `}}`, syntax},
		"managed, old version":    {CustomerManaged, `{"Version":"2008-10-17","Statement":{` + allowed + `}}`, "Policy document must be version 2012-10-17 or greater."},
		"managed, no version":     {CustomerManaged, `{"Statement":{` + allowed + `}}`, "Policy document must be version 2012-10-17 or greater."},
		"no statement":            {Identity, `{"Version":"2012-10-17"}`, syntax},
		"empty statements":        {Identity, `{"Version":"2012-10-17","Statement":[]}`, syntax},
		"statement is text":       {Identity, `{"Statement":["a"]}`, syntax},
		"statement is null":       {Identity, `{"Statement":null}`, syntax},
		"unknown member":          {Identity, `{"Statement":{` + allowed + `},"Extra":"x"}`, syntax},
		"unknown statement part":  {Identity, statement(allowed + `,"Extra":"x"`), syntax},
		"member in lower case":    {Identity, statement(`"effect":"Allow","Action":"s3:Get","Resource":"*"`), syntax},
		"id is a list":            {Identity, `{"Id":["x"],"Statement":{` + allowed + `}}`, syntax},
		"duplicate top member":    {Identity, `{"Version":"2008-10-17","Version":"2012-10-17","Statement":{` + allowed + `}}`, syntax},
		"duplicate member":        {Identity, statement(`"Effect":"Deny",` + allowed), syntax},
		"duplicate by escape":     {Identity, statement(`"\u0045ffect":"Deny",` + allowed), syntax},
		"duplicate operator":      {Identity, cond(`{"StringEquals":{"aws:a":"x"},"StringEquals":{"aws:b":"x"}}`), syntax},
		"duplicate key":           {Identity, cond(`{"StringEquals":{"aws:a":"x","aws:a":"y"}}`), syntax},
		"duplicate key by case":   {Identity, cond(`{"StringEquals":{"aws:a":"x","AWS:A":"y"}}`), syntax},
		"duplicate principal":     {Trust, statement(assume + `,"Principal":{"AWS":"*","AWS":"123456789012"}`), syntax},
		"effect missing":          {Identity, statement(`"Action":"s3:Get","Resource":"*"`), syntax},
		"effect unknown":          {Identity, statement(`"Effect":"Perhaps","Action":"s3:Get","Resource":"*"`), syntax},
		"effect in wrong case":    {Identity, statement(`"Effect":"denY","Action":"s3:Get","Resource":"*"`), legacy},
		"effect missing, trust":   {Trust, statement(`"Action":"sts:AssumeRole",` + who), "Missing required field Effect"},
		"sid with a dash":         {Identity, statement(`"Sid":"a-b",` + allowed), "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"},
		"sid is an object":        {Identity, statement(`"Sid":{},` + allowed), syntax},
		"sid twice":               {Identity, `{"Statement":[{"Sid":"a",` + allowed + `},{"Sid":"a",` + allowed + `}]}`, "Statement IDs (SID) in a single policy must be unique."},
		"action and not":          {Identity, statement(allowed + `,"NotAction":[]`), syntax},
		"resource and not":        {Identity, statement(allowed + `,"NotResource":"*"`), syntax},
		"no action":               {Identity, statement(`"Effect":"Allow","Resource":"*"`), "Policy statement must contain actions."},
		"empty actions":           {Identity, statement(`"Effect":"Allow","Action":[],"Resource":"*"`), "Policy statement must contain actions."},
		"no resource":             {Identity, statement(`"Effect":"Allow","Action":"s3:Get"`), "Policy statement must contain resources."},
		"empty resources":         {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":[]`), "Policy statement must contain resources."},
		"action without vendor":   {Identity, statement(`"Effect":"Allow","Action":"invalid","Resource":"*"`), vendor},
		"action empty":            {Identity, statement(`"Effect":"Allow","NotAction":"","Resource":"*"`), vendor},
		"action with two colons":  {Identity, statement(`"Effect":"Allow","Action":"s3:List:Bucket","Resource":"*"`), "Actions/Condition can contain only one colon."},
		"vendor with a space":     {Identity, statement(`"Effect":"Allow","Action":"a a:List","Resource":"*"`), "Vendor a a is not valid"},
		"vendor with wildcard":    {Identity, statement(`"Effect":"Allow","Action":"s*:List","Resource":"*"`), "Vendor s* is not valid"},
		"action name empty":       {Identity, statement(`"Effect":"Deny","Action":"s3:","Resource":"*"`), syntax},
		"action with variable":    {Identity, statement(`"Effect":"Deny","Action":"s3:${aws:username}","Resource":"*"`), "Actions/Condition can contain only one colon."},
		"action is an object":     {Identity, statement(`"Effect":"Deny","Action":{},"Resource":"*"`), syntax},
		"action list in a list":   {Identity, statement(`"Effect":"Deny","Action":[["s3:Get"]],"Resource":"*"`), syntax},
		"resource no ARN":         {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"invalid resource"`), `Resource invalid resource must be in ARN format or "*".`},
		"resource empty":          {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":""`), `Resource  must be in ARN format or "*".`},
		"resource two stars":      {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"**"`), `Resource ** must be in ARN format or "*".`},
		"partition":               {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:b:c:d:e:f:g:h"`), `Partition "b" is not valid for resource "arn:b:c:d:e:f:g:h".`},
		"partition, short":        {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:b:c"`), `Partition "b" is not valid for resource "arn:b:c:*:*:*".`},
		"no vendor":               {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws"`), "Resource vendor must be fully qualified and cannot contain regexes."},
		"vendor is a pattern":     {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:s3*"`), "Resource vendor must be fully qualified and cannot contain regexes."},
		"short ARN":               {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:s3::example"`), legacy},
		"iam region":              {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:iam:us-east-1::user/x"`), "IAM resource arn:aws:iam:us-east-1::user/x cannot contain region information."},
		"iam path":                {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:iam:::example"`), `IAM resource path must either be "*" or start with user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/.`},
		"variable as account":     {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:s3::${aws:PrincipalAccount}:b"`), legacy},
		"variable not closed":     {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:s3:::${aws:username"`), syntax},
		"variable without prefix": {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:s3:::${username}"`), vendor},
		"variable empty":          {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:s3:::${}"`), vendor},
		"default without quotes":  {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:s3:::${aws:username, x}"`), syntax},
		"default not closed":      {Identity, statement(`"Effect":"Allow","Action":"s3:Get","Resource":"arn:aws:s3:::${aws:username, 'x}"`), syntax},
		"principal in identity":   {Identity, statement(allowed + "," + who), "Policy document should not specify a principal."},
		"not principal, identity": {Identity, statement(allowed + `,"NotPrincipal":"*"`), "Policy document should not specify a principal."},

		"unknown operator":         {Identity, cond(`{"StringMatches":{"aws:a":"x"}}`), syntax},
		"unknown operator, empty":  {Identity, cond(`{"x":{}}`), syntax},
		"operator in other case":   {Identity, cond(`{"stringEquals":{"aws:a":"x"}}`), syntax},
		"unknown quantifier":       {Identity, cond(`{"ForSomeValues:StringEquals":{"aws:a":"x"}}`), syntax},
		"two colons in quantifier": {Identity, cond(`{"ForAnyValue::StringEquals":{"aws:a":"x"}}`), syntax},
		"if exists twice":          {Identity, cond(`{"StringEqualsIfExistsIfExists":{"aws:a":"x"}}`), syntax},
		"null if exists":           {Identity, cond(`{"NullIfExists":{"aws:a":"true"}}`), syntax},
		"null for any value":       {Identity, cond(`{"ForAnyValue:Null":{"aws:a":"true"}}`), syntax},
		"comment in condition":     {Identity, cond(`{"__doc_comment":"x"}`), syntax},
		"condition is a list":      {Identity, cond(`[{"StringEquals":{"aws:a":"x"}}]`), syntax},
		"operator with text":       {Identity, cond(`{"StringEquals":"x"}`), syntax},
		"value is an object":       {Identity, cond(`{"StringEquals":{"aws:a":{}}}`), syntax},
		"value is null":            {Identity, cond(`{"StringEquals":{"aws:a":null}}`), syntax},
		"no values":                {Identity, cond(`{"StringEquals":{"aws:a":[]}}`), syntax},
		"key without prefix":       {Identity, cond(`{"StringEquals":{"a":"x"}}`), vendor},
		"key without name":         {Identity, cond(`{"StringEquals":{"aws:":"x"}}`), syntax},
		"key with wildcard":        {Identity, cond(`{"StringEquals":{"aws:RequestTag/*":"x"}}`), syntax},
		"key with empty tag":       {Identity, cond(`{"StringEquals":{"aws:RequestTag/":"x"}}`), syntax},
		"date":                     {Identity, cond(`{"DateGreaterThan":{"aws:CurrentTime":"sdfdsf"}}`), legacy},
		"date out of range":        {Identity, cond(`{"DateGreaterThan":{"aws:CurrentTime":"9223372036854775808"}}`), legacy},
		"number":                   {Identity, cond(`{"NumericEquals":{"aws:a":"0x10"}}`), legacy},
		"not a number":             {Identity, cond(`{"NumericEquals":{"aws:a":"NaN"}}`), legacy},
		"boolean":                  {Identity, cond(`{"Bool":{"aws:a":"yes"}}`), legacy},
		"null, no boolean":         {Identity, cond(`{"Null":{"aws:a":"absent"}}`), legacy},
		"address":                  {Identity, cond(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}`), legacy},
		"address variable":         {Identity, cond(`{"IpAddress":{"aws:SourceIp":"${aws:SourceIp}"}}`), legacy},
		"base64":                   {Identity, cond(`{"BinaryEquals":{"aws:a":"%"}}`), legacy},
		"condition ARN":            {Identity, cond(`{"ArnLike":{"aws:SourceArn":"user/x"}}`), legacy},
		"condition short ARN":      {Identity, cond(`{"ArnNotLike":{"aws:SourceArn":"arn:aws:s3*"}}`), legacy},
		"variable in condition":    {Identity, cond(`{"StringLike":{"aws:a":"${aws:username"}}`), syntax},

		"trust with resource":         {Trust, statement(assume + "," + who + `,"Resource":"*"`), "Has prohibited field Resource"},
		"trust with not resource":     {Trust, statement(assume + "," + who + `,"NotResource":"*"`), "AssumeRole policy must not contain resources."},
		"trust without principal":     {Trust, statement(assume), "Missing required field Principal"},
		"trust, empty principal":      {Trust, statement(assume + `,"Principal":{}`), "Missing required field Principal cannot be empty!"},
		"trust, no principals":        {Trust, statement(assume + `,"Principal":{"AWS":[]}`), "Missing required field Principal cannot be empty!"},
		"trust without action":        {Trust, statement(`"Effect":"Allow",` + who), "Missing required field Action"},
		"trust, other action":         {Trust, statement(`"Effect":"Allow","Action":"s3:Get",` + who), trust},
		"trust, any action":           {Trust, statement(`"Effect":"Allow","Action":"*",` + who), trust},
		"trust, other sts action":     {Trust, statement(`"Effect":"Allow","Action":"sts:GetCallerIdentity",` + who), trust},
		"trust, not action":           {Trust, statement(`"Effect":"Allow","NotAction":"sts:AssumeRole",` + who), trust},
		"allow not principal":         {Resource, statement(allowed + `,"NotPrincipal":{"AWS":"123456789012"}`), "Allow with NotPrincipal is not allowed."},
		"trust, deny not principal":   {Trust, statement(`"Effect":"Deny","Action":"sts:AssumeRole","NotPrincipal":{"AWS":"123456789012"}`), "AssumeRole policy must not contain NotPrincipal field."},
		"deny for nobody":             {Resource, statement(`"Effect":"Deny","Action":"s3:Get","Resource":"*","NotPrincipal":"*"`), `Invalid principal in policy: "STAR":"*"`},
		"both principals":             {Resource, statement(allowed + `,"Principal":"*","NotPrincipal":{"AWS":"123456789012"}`), syntax},
		"principal is text":           {Trust, statement(assume + `,"Principal":"123456789012"`), syntax},
		"principal of unknown kind":   {Trust, statement(assume + `,"Principal":{"Group":"x"}`), `Invalid principal in policy: "GROUP":"x"`},
		"principal with wildcard":     {Trust, statement(assume + `,"Principal":{"AWS":"arn:aws:iam::123456789012:role/*"}`), `Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:role/*"`},
		"principal with variable":     {Trust, statement(assume + `,"Principal":{"AWS":"arn:aws:iam::123456789012:user/${aws:username}"}`), `Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:user/${aws:username}"`},
		"principal is a group":        {Trust, statement(assume + `,"Principal":{"AWS":"arn:aws:iam::123456789012:group/g"}`), `Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:group/g"`},
		"principal account too short": {Trust, statement(assume + `,"Principal":{"AWS":"12345678901"}`), `Invalid principal in policy: "AWS":"12345678901"`},
		"session without name":        {Trust, statement(assume + `,"Principal":{"AWS":"arn:aws:sts::123456789012:assumed-role/r"}`), `Invalid principal in policy: "AWS":"arn:aws:sts::123456789012:assumed-role/r"`},
		"federated star":              {Trust, statement(assume + `,"Principal":{"Federated":"*"}`), `Invalid principal in policy: "STAR":"*"`},
		"federated other":             {Trust, statement(assume + `,"Principal":{"Federated":"issuer.example.com"}`), `Invalid principal in policy: "FEDERATED":"issuer.example.com"`},
		"service star":                {Trust, statement(assume + `,"Principal":{"Service":"*"}`), `Invalid principal in policy: "STAR":"*"`},
		"service without dot":         {Trust, statement(assume + `,"Principal":{"Service":"ec2"}`), `Invalid principal in policy: "SERVICE":"ec2"`},
		"trust canonical user":        {Trust, statement(assume + `,"Principal":{"CanonicalUser":"` + strings.Repeat("0f", 32) + `"}`), `Invalid principal in policy: "CANONICALUSER":"` + strings.Repeat("0f", 32) + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Parse([]byte(c.doc), c.kind)
			var m *MalformedError
			require.ErrorAs(t, err, &m)
			require.Equal(t, c.message, m.Message)
			require.Nil(t, d)
		})
	}
}

// The passes are AWS' own: what is wrong with any statement's actions comes
// after what is wrong with the presence of any statement's resources.
func TestParseOrderOfFaults(t *testing.T) {
	_, err := Parse([]byte(`{"Statement":[{"Effect":"Allow","Action":"invalid","Resource":"*"},{"Effect":"Allow","Action":"s3:Get"}]}`), Identity)
	var m *MalformedError
	require.ErrorAs(t, err, &m)
	require.Equal(t, "Policy statement must contain resources.", m.Message)
	require.Equal(t, "Statement[1]", m.Where)
}

func TestParseSaysWhere(t *testing.T) {
	for doc, want := range map[string]string{
		`{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*"},{"Effect":"Allow","Action":"b","Resource":"*"}]}`: `Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. (Statement[1].Action: found "b")`,
		statement(`"Effect":"Deny","Action":"a:b","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"no"}}`):      `The policy failed legacy parsing (Statement[0].Condition.Bool.aws:SecureTransport: found "no", must be true or false)`,
		statement(`"Effect":"Deny","Action":"a:b","Resource":"*","Condition":{"Like":{"aws:SecureTransport":"no"}}`):      `Syntax errors in policy. (Statement[0].Condition.Like: unknown condition operator "Like")`,
		`{"Statement":{"Effect":"Allow","Effect":"Deny"}}`:                                                                `Syntax errors in policy. (Statement: member "Effect" is there twice)`,
	} {
		_, err := Parse([]byte(doc), Identity)
		require.EqualError(t, err, want)
	}
}

func TestDocument(t *testing.T) {
	const text = "{\n \"Version\": \"2012-10-17\", \"Id\": \"me\",\n \"Statement\": [\n  {\"Sid\": \"One\", \"Effect\": \"Allow\", \"Action\": \"aps:Get*\", \"Resource\": \"arn:aws:s3:::${aws:username}\"},\n" +
		"  {\"Effect\": \"Deny\", \"NotAction\": [\"iam:A\"], \"NotResource\": [\"*\"],\n   \"Condition\": {\"StringLike\": {\"aws:UserName\": \"${aws:PrincipalTag/Team}\", \"s3:Prefix\": \"x\"}}}\n ]\n}"
	d := mustParse(t, CustomerManaged, text)
	require.Equal(t, Version2012, d.Version())
	require.Equal(t, "me", d.ID())
	require.Equal(t, []string{"aws:username", "aws:PrincipalTag/Team", "s3:Prefix"}, d.ContextKeys())
	s := d.Statements()
	require.Len(t, s, 2)
	require.Equal(t, "One", s[0].Sid)
	require.Equal(t, Allow, s[0].Effect)
	require.Equal(t, []string{"aps:Get*"}, s[0].Actions)
	require.Equal(t, []string{"iam:A"}, s[1].NotActions)
	require.Equal(t, []string{"*"}, s[1].NotResources)
	require.Equal(t, Position{Line: 4, Column: 3}, s[0].Start)
	lines := strings.Split(text, "\n")
	require.Equal(t, Position{Line: 4, Column: len(lines[3])}, s[0].End, "the comma")
	require.Equal(t, Position{Line: 5, Column: 3}, s[1].Start)
	require.Equal(t, Position{Line: 6, Column: len(lines[5]) + 1}, s[1].End)
}

func TestManagedPolicies(t *testing.T) {
	all := ManagedPolicies()
	require.Len(t, all, len(managedTable()))
	entries, err := managedFiles.ReadDir("managed")
	require.NoError(t, err)
	require.Len(t, entries, len(all), "each file is in the table")
	seen := map[string]bool{}
	for _, p := range all {
		require.False(t, seen[p.ID] || seen[p.ARN], p.Name)
		seen[p.ID], seen[p.ARN] = true, true
		require.Regexp(t, `^ANPA[A-Z0-9]{17}$`, p.ID)
		require.False(t, p.Updated.Before(p.Created), p.Name)
		require.Equal(t, p.Version == "v1", p.Updated.Equal(p.Created), p.Name)
		d, ok := Managed(p.ARN)
		require.True(t, ok)
		require.Same(t, p.Document, d)
		require.True(t, json.Valid([]byte(d.String())))
	}
	_, ok := Managed("arn:aws:iam::aws:policy/administratoraccess")
	require.False(t, ok)

	write, _ := Managed("arn:aws:iam::aws:policy/AmazonPrometheusRemoteWriteAccess")
	query, _ := Managed("arn:aws:iam::aws:policy/AmazonPrometheusQueryAccess")
	full, _ := Managed("arn:aws:iam::aws:policy/AmazonPrometheusFullAccess")
	power, _ := Managed("arn:aws:iam::aws:policy/PowerUserAccess")
	admin, _ := Managed("arn:aws:iam::aws:policy/AdministratorAccess")
	for action, want := range map[string][5]bool{ // write, query, full, power, admin
		"aps:RemoteWrite":       {true, false, true, true, true},
		"aps:QueryMetrics":      {false, true, true, true, true},
		"aps:GetSeries":         {false, true, true, true, true},
		"aps:GetLabels":         {false, true, true, true, true},
		"aps:GetMetricMetadata": {false, true, true, true, true},
		"aps:CreateWorkspace":   {false, false, true, true, true},
		"eks:DescribeCluster":   {false, false, false, true, true}, // full: only via aps
		"iam:CreateUser":        {false, false, false, false, true},
		"iam:ListRoles":         {false, false, false, true, true},
	} {
		for i, d := range []*Document{write, query, full, power, admin} {
			r := Request{Principal: user, Action: action, Resource: "arn:aws:any:r:111111111111:x/y"}
			require.Equal(t, want[i], Evaluate(r, Set{Identity: []Source{{"p", d}}}).Allowed, "%s %d", action, i)
		}
	}
	via := Request{Principal: user, Action: "eks:DescribeCluster", Resource: "*", Context: map[string][]string{"aws:calledvia": {"x.amazonaws.com", "aps.amazonaws.com"}}}
	require.True(t, Evaluate(via, Set{Identity: []Source{{"p", full}}}).Allowed)
}
