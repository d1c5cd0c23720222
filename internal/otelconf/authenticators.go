package otelconf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	commoncfg "github.com/prometheus/common/config"
)

// authenticator is an extension that an exporter may name.
type authenticator struct {
	// apply gives an endpoint its credentials.
	apply func(e *Endpoint)
	used  bool // listed in service.extensions
}

// authenticate gives an endpoint the credentials of the extension id.
func (l *loader) authenticate(e *Endpoint, id string, pos position, field string, used bool, auth map[string]*authenticator) bool {
	a := auth[id]
	switch {
	case a == nil:
		l.add(&Error{File: pos.file, Line: pos.line, Field: field, Text: "references extension \"" + id + "\" which is not configured", Allowed: sortedKeys(auth)})
		return false
	case !a.used && used:
		l.at(pos, field, "references extension %q which is not listed in service.extensions", id)
		return false
	case a.apply == nil:
		return false // what is wrong with it is reported there
	case e.authenticated():
		l.at(pos, field, "there are other credentials, in the URL or in aws_auth; only one kind is possible")
		return false
	}
	a.apply(e)
	return true
}

// authenticator decodes an extension; nil if something is wrong with it.
func (l *loader) authenticator(c *component) func(*Endpoint) {
	before := len(l.list)
	decode := map[string]func(*component) func(*Endpoint){
		"sigv4auth": l.sigv4auth, "basicauth": l.basicauth, "bearertokenauth": l.bearertokenauth,
		"oauth2client": l.oauth2client, "headers_setter": l.headersSetter,
	}
	apply := decode[c.kind](c)
	if len(l.list) > before {
		return nil
	}
	return apply
}

func (l *loader) sigv4auth(c *component) func(*Endpoint) {
	var body struct {
		Region     string `conf:"region"`
		Service    string `conf:"service"`
		AssumeRole struct {
			ARN         string `conf:"arn"`
			SessionName string `conf:"session_name"`
			STSRegion   string `conf:"sts_region"`
			ExternalID  string `conf:"external_id"`
			TokenFile   string `conf:"web_identity_token_file"`
		} `conf:"assume_role"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	if body.Region == "AWS_REGION" {
		l.at(c.body.get("region").pos, c.path+".region", `"AWS_REGION" is a placeholder: put the workspace's region there, such as us-east-1`)
	}
	role := body.AssumeRole
	if role.ARN == "" && (role.ExternalID != "" || role.TokenFile != "") {
		l.at(c.body.get("assume_role").pos, c.path+".assume_role", "arn is missing")
	}
	s := SigV4{
		Region: body.Region, Service: body.Service, RoleARN: role.ARN, ExternalID: role.ExternalID,
		SessionName: role.SessionName, STSRegion: role.STSRegion, WebIdentityTokenFile: role.TokenFile,
	}
	return func(e *Endpoint) { e.SigV4 = l.finishSigV4(s, e.URL) }
}

// finishSigV4 fills in what a signer leaves open, for the URL it signs for.
func (l *loader) finishSigV4(s SigV4, rawURL string) *SigV4 {
	if s.Service == "" {
		s.Service = defaultService
	}
	if s.Region == "" {
		s.Region = ampRegion(rawURL)
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if v, _ := l.getenv(name); s.Region == "" {
			s.Region = v
		}
	}
	s.STSRegion = cmp.Or(s.STSRegion, s.Region)
	s.SessionName = cmp.Or(s.SessionName, defaultSessionName)
	return &s
}

func (l *loader) basicauth(c *component) func(*Endpoint) {
	var body struct {
		Client *struct {
			Username     string `conf:"username"`
			Password     string `conf:"password"`
			UsernameFile string `conf:"username_file"`
			PasswordFile string `conf:"password_file"`
		} `conf:"client_auth"`
		Server *node `conf:"htpasswd"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	a := body.Client
	switch {
	case a == nil:
		l.at(c.pos, c.path, "client_auth is missing: htpasswd is for servers")
		return nil
	case a.Username == "" && a.UsernameFile == "":
		l.at(c.body.get("client_auth").pos, c.path+".client_auth", "username or username_file is missing")
		return nil
	}
	auth := commoncfg.BasicAuth{UsernameFile: a.UsernameFile, PasswordFile: a.PasswordFile}
	// As there, a file is used in place of what stands next to it.
	if a.UsernameFile == "" {
		auth.Username = a.Username
	}
	if a.PasswordFile == "" {
		auth.Password = commoncfg.Secret(a.Password)
	}
	return func(e *Endpoint) { e.HTTP.BasicAuth = &auth }
}

func (l *loader) bearertokenauth(c *component) func(*Endpoint) {
	body := struct {
		Header   string    `conf:"header"`
		Scheme   string    `conf:"scheme"`
		Token    string    `conf:"token"`
		Tokens   []*string `conf:"tokens"`
		Filename string    `conf:"filename"`
	}{Header: "Authorization", Scheme: "Bearer"}
	decodeInto(c.body, c.path, &body, &l.problems)
	if len(body.Tokens) > 0 && body.Token == "" && body.Tokens[0] != nil {
		body.Token = *body.Tokens[0] // a client sends the first one
	}
	if body.Token == "" && body.Filename == "" {
		l.at(c.pos, c.path, "token or filename is missing")
		return nil
	}
	standard := strings.EqualFold(body.Header, "Authorization") && body.Scheme != ""
	switch {
	case !standard && body.Filename != "":
		l.at(c.body.get("filename").pos, c.path+".filename", "is supported with the header Authorization and a scheme only")
		return nil
	case !standard:
		value := strings.TrimPrefix(body.Scheme+" "+body.Token, " ")
		return func(e *Endpoint) { e.setHeader(body.Header, value) }
	}
	auth := commoncfg.Authorization{Type: body.Scheme, CredentialsFile: body.Filename}
	if body.Filename == "" {
		auth.Credentials = commoncfg.Secret(body.Token)
	}
	return func(e *Endpoint) { e.HTTP.Authorization = &auth }
}

func (e *Endpoint) setHeader(name, value string) {
	headers := map[string]string{name: value}
	for k, v := range e.Headers {
		if !strings.EqualFold(k, name) {
			headers[k] = v
		}
	}
	e.Headers = headers
}

func (l *loader) oauth2client(c *component) func(*Endpoint) {
	var body struct {
		ClientID       string           `conf:"client_id"`
		ClientIDFile   *node            `conf:"client_id_file"`
		Secret         string           `conf:"client_secret"`
		SecretFile     string           `conf:"client_secret_file"`
		CertKey        string           `conf:"client_certificate_key"`
		CertKeyFile    string           `conf:"client_certificate_key_file"`
		CertKeyID      string           `conf:"client_certificate_key_id"`
		GrantType      string           `conf:"grant_type"`
		Algorithm      string           `conf:"signature_algorithm"`
		Issuer         string           `conf:"iss"`
		Audience       string           `conf:"audience"`
		Claims         map[string]*node `conf:"claims"`
		EndpointParams map[string]*node `conf:"endpoint_params"`
		TokenURL       string           `conf:"token_url"`
		Scopes         []string         `conf:"scopes"`
		TLS            tlsBody          `conf:"tls"`
		Timeout        time.Duration    `conf:"timeout"`
		ExpiryBuffer   *node            `conf:"expiry_buffer"`
	}
	before := len(l.list)
	decodeInto(c.body, c.path, &body, &l.problems)
	if !body.ClientIDFile.isNull() {
		l.at(body.ClientIDFile.pos, c.path+".client_id_file", "is not supported: use client_id, with ${file:PATH} if it is in a file")
	}
	auth := commoncfg.OAuth2{
		ClientID: body.ClientID, ClientSecret: commoncfg.Secret(body.Secret), ClientSecretFile: body.SecretFile,
		ClientCertificateKey: commoncfg.Secret(body.CertKey), ClientCertificateKeyFile: body.CertKeyFile, ClientCertificateKeyID: body.CertKeyID,
		GrantType: body.GrantType, SignatureAlgorithm: body.Algorithm, Iss: body.Issuer, Audience: body.Audience,
		TokenURL: body.TokenURL, Scopes: body.Scopes, EndpointParams: map[string]string{},
	}
	if auth.ClientSecretFile != "" {
		auth.ClientSecret = ""
	}
	for _, key := range sortedKeys(body.EndpointParams) {
		n := body.EndpointParams[key]
		switch {
		case n.kind == scalar:
			auth.EndpointParams[key] = n.text
		case n.kind == sequence && len(n.items) == 1:
			auth.EndpointParams[key] = n.items[0].text
		default:
			l.at(n.pos, join(c.path+".endpoint_params", key), "must be a single value")
		}
	}
	if len(body.Claims) > 0 {
		auth.Claims = map[string]any{}
	}
	for _, key := range sortedKeys(body.Claims) {
		auth.Claims[key] = body.Claims[key].text
	}
	h := commoncfg.HTTPClientConfig{}
	l.clientTLS(&h, body.TLS, c.body, c.path)
	auth.TLSConfig, auth.ProxyFromEnvironment = h.TLSConfig, true
	h = commoncfg.HTTPClientConfig{OAuth2: &auth}
	if err := h.Validate(); err != nil && len(l.list) == before {
		l.at(c.pos, c.path, "%v", err)
	}
	return func(e *Endpoint) { e.HTTP.OAuth2 = &auth }
}

// headerChange is one change of the headers_setter extension.
type headerChange struct{ action, name, value string }

func (h headerChange) apply(e *Endpoint) {
	there := e.hasHeader(h.name)
	switch {
	case h.action == "delete":
		headers := map[string]string{}
		for k, v := range e.Headers {
			if !strings.EqualFold(k, h.name) {
				headers[k] = v
			}
		}
		e.Headers = headers
	case h.action == "upsert", h.action == "insert" && !there, h.action == "update" && there:
		e.setHeader(h.name, h.value)
	}
}

// headersSetter sets headers from constants; there are no requests from outside
// whose headers could be passed on.
func (l *loader) headersSetter(c *component) func(*Endpoint) {
	var body struct {
		Headers []struct {
			Action        string `conf:"action"`
			Key           string `conf:"key"`
			Value         string `conf:"value"`
			ValueFile     *node  `conf:"value_file"`
			FromContext   string `conf:"from_context"`
			FromAttribute string `conf:"from_attribute"`
			Default       string `conf:"default_value"`
		} `conf:"headers"`
		Additional *node `conf:"additional_auth"`
	}
	decodeInto(c.body, c.path, &body, &l.problems)
	if !body.Additional.isNull() {
		l.at(body.Additional.pos, c.path+".additional_auth", "is not supported: one extension for each exporter")
	}
	var changes []headerChange
	actions := []string{"insert", "update", "upsert", "delete"}
	for i, h := range body.Headers {
		pos, field := c.body.get("headers").items[i].pos, fmt.Sprintf("%s.headers[%d]", c.path, i)
		change := headerChange{action: cmp.Or(strings.ToLower(h.Action), "upsert"), name: h.Key, value: cmp.Or(h.Value, h.Default)}
		switch {
		case h.Key == "":
			l.at(pos, field, "key is missing")
		case !slices.Contains(actions, change.action):
			l.add(&Error{File: pos.file, Line: pos.line, Field: field + ".action", Text: "unknown action", Found: found("action", change.action), Allowed: actions})
		case slices.Contains(protectedHeaders, strings.ToLower(h.Key)):
			l.at(pos, field, "the header %q is set by the protocol", h.Key)
		case !h.ValueFile.isNull():
			l.at(h.ValueFile.pos, field+".value_file", "is not supported: use value: ${file:PATH}")
		case change.value == "" && change.action != "delete":
			l.at(pos, field, "value is missing: scraped samples come with no request whose headers could be passed on")
		default:
			changes = append(changes, change)
		}
	}
	return func(e *Endpoint) {
		for _, change := range changes {
			change.apply(e)
		}
	}
}

func (e *Endpoint) hasHeader(name string) bool {
	for k := range e.Headers {
		if strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}
