package alerts

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	commoncfg "github.com/prometheus/common/config"
)

// SNS says what becomes of notifications to topics whose receiver has no
// credentials of its own, which is how definitions for Managed Prometheus are.
// One that has credentials goes to its own endpoint, or AWS', and none of this is
// used for it.
type SNS struct {
	// Endpoint takes them by the protocol of SNS, signed with Credentials. Empty
	// means AWS' own, if there are credentials.
	Endpoint    string
	Region      string // empty means the one that the receiver names
	Credentials aws.CredentialsProvider
	// HTTP is a URL that takes them as SNS delivers to subscribers by HTTP: a POST
	// of JSON with Type, TopicArn, Subject, Message. It takes the place of Endpoint.
	HTTP string
}

// topic publishes notifications to SNS.
type topic struct {
	conf    *config.SNSConfig
	tmpl    *template.Template
	logger  *slog.Logger
	sns     SNS
	guarded *http.Client // for addresses of the definition
	own     *http.Client // for those of the server's settings
	retrier notify.Retrier
}

func (b *receivers) newSNS(c *config.SNSConfig, tmpl *template.Template) (*topic, error) {
	client, err := commoncfg.NewClientFromConfig(*c.HTTPConfig, "sns", b.httpOptions()...)
	if err != nil {
		return nil, err
	}
	// The server's own address may be one that definitions must not name.
	plain := []commoncfg.HTTPClientOption{commoncfg.WithKeepAlivesDisabled()}
	if b.dial != nil {
		plain = append(plain, commoncfg.WithDialContextFunc(b.dial))
	}
	own, err := commoncfg.NewClientFromConfig(commoncfg.DefaultHTTPClientConfig, "sns", plain...)
	if err != nil {
		return nil, err
	}
	return &topic{conf: c, tmpl: tmpl, logger: b.logger, sns: b.sns, guarded: client, own: own}, nil
}

// message is what is published, after templates.
type message struct {
	topic, target, phone string
	subject, body        string
	attributes           map[string]string
}

// Sizes that SNS takes: bytes of a message, runes of a text to a phone and of a
// subject.
const (
	maxMessage = 256 << 10
	maxPhone   = 1600
	maxSubject = 100
)

func (n *topic) message(ctx context.Context, as []*alert.Alert) (m message, apiURL string, err error) {
	data := notify.GetTemplateData(ctx, n.tmpl, as, n.logger)
	expand := notify.TmplText(n.tmpl, data, &err)
	m = message{topic: expand(n.conf.TopicARN), target: expand(n.conf.TargetARN), phone: expand(n.conf.PhoneNumber),
		subject: expand(n.conf.Subject), body: expand(n.conf.Message), attributes: make(map[string]string)}
	for k, v := range n.conf.Attributes {
		if k, v = expand(k), expand(v); k != "" && v != "" {
			m.attributes[k] = v
		}
	}
	apiURL = expand(n.conf.APIUrl)
	if err != nil {
		return m, "", notify.NewErrorWithReason(notify.ClientErrorReason, fmt.Errorf("execute templates: %w", err))
	}
	truncated := false
	if m.phone != "" {
		m.body, truncated = notify.TruncateInRunes(m.body, maxPhone)
	} else {
		m.body, truncated = notify.TruncateInBytes(m.body, maxMessage)
	}
	if truncated {
		m.attributes["truncated"] = "true"
		n.logger.Warn("message to SNS truncated")
	}
	if utf8.RuneCountInString(m.subject) > maxSubject {
		m.subject, _ = notify.TruncateInRunes(m.subject, maxSubject)
	}
	// A subject is one line of text.
	m.subject = strings.Join(strings.Fields(m.subject), " ")
	return m, apiURL, nil
}

// Notify implements notify.Notifier.
func (n *topic) Notify(ctx context.Context, as ...*alert.Alert) (bool, error) {
	m, apiURL, err := n.message(ctx, as)
	if err != nil {
		return false, err
	}
	sig := n.conf.Sigv4
	cfg := aws.Config{Region: sig.Region, HTTPClient: n.guarded, RetryMaxAttempts: 1}
	switch {
	case sig.AccessKey != "":
		cfg.Credentials = credentials.NewStaticCredentialsProvider(sig.AccessKey, string(sig.SecretKey), "")
	case n.sns.HTTP != "":
		return n.post(ctx, &m)
	case n.sns.Credentials == nil:
		return false, notify.NewErrorWithReason(notify.ClientErrorReason,
			errors.New("the SNS receiver has no credentials (sigv4.access_key and secret_key), and the server has none for it (setting alerts.sns)"))
	case apiURL != "":
		return false, notify.NewErrorWithReason(notify.ClientErrorReason,
			errors.New("the SNS receiver names an api_url without credentials: those of the server are not used for it"))
	default:
		cfg.Credentials, cfg.HTTPClient, apiURL = n.sns.Credentials, n.own, n.sns.Endpoint
		cfg.Region = cmp.Or(n.sns.Region, cfg.Region)
	}
	if cfg.Region == "" {
		cfg.Region = regionOf(cmp.Or(m.topic, m.target))
	}
	if sig.RoleARN != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), sig.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			if sig.ExternalID != "" {
				o.ExternalID = aws.String(sig.ExternalID)
			}
		}))
	}
	if apiURL != "" {
		cfg.BaseEndpoint = aws.String(apiURL)
	}
	return n.publish(ctx, awssns.NewFromConfig(cfg), &m)
}

// regionOf returns the region in an ARN.
func regionOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 5); len(parts) == 5 {
		return parts[3]
	}
	return ""
}

func (n *topic) publish(ctx context.Context, client *awssns.Client, m *message) (bool, error) {
	in := &awssns.PublishInput{Message: aws.String(m.body), MessageAttributes: make(map[string]snstypes.MessageAttributeValue)}
	set := func(field **string, v string) {
		if v != "" {
			*field = aws.String(v)
		}
	}
	set(&in.TopicArn, m.topic)
	set(&in.TargetArn, m.target)
	set(&in.PhoneNumber, m.phone)
	set(&in.Subject, m.subject)
	if strings.HasSuffix(m.topic, ".fifo") {
		key, err := notify.ExtractGroupKey(ctx)
		if err != nil {
			return false, err
		}
		in.MessageDeduplicationId, in.MessageGroupId = aws.String(key.Hash()), aws.String(key.Hash())
	}
	for k, v := range m.attributes {
		in.MessageAttributes[k] = snstypes.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(v)}
	}
	_, err := client.Publish(ctx, in)
	if err == nil {
		return false, nil
	}
	var status interface{ HTTPStatusCode() int }
	var apiErr smithy.APIError
	if errors.As(err, &status) && errors.As(err, &apiErr) {
		retry, checkErr := n.retrier.Check(status.HTTPStatusCode(), strings.NewReader(apiErr.ErrorMessage()))
		return retry, notify.NewErrorWithReason(notify.GetFailureReasonFromStatusCode(status.HTTPStatusCode()), checkErr)
	}
	return true, err
}

// attribute is one of a delivered message.
type attribute struct {
	Type  string
	Value string
}

// post delivers a message as SNS does to subscribers by HTTP.
func (n *topic) post(ctx context.Context, m *message) (bool, error) {
	body := struct {
		Type              string
		MessageID         string `json:"MessageId"`
		TopicArn          string
		Subject           string `json:",omitempty"`
		Message           string
		Timestamp         string
		MessageAttributes map[string]attribute `json:",omitempty"`
	}{"Notification", uuid.NewString(), cmp.Or(m.topic, m.target, m.phone), m.subject, m.body,
		time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), make(map[string]attribute)}
	for _, k := range slices.Sorted(maps.Keys(m.attributes)) {
		body.MessageAttributes[k] = attribute{"String", m.attributes[k]}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return false, fmt.Errorf("encode message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.sns.HTTP, bytes.NewReader(b))
	if err != nil {
		return false, fmt.Errorf("deliver message: %w", notify.RedactURL(err))
	}
	req.Header.Set("Content-Type", "text/plain; charset=UTF-8")
	req.Header.Set("X-Amz-Sns-Message-Type", body.Type)
	req.Header.Set("X-Amz-Sns-Message-Id", body.MessageID)
	req.Header.Set("X-Amz-Sns-Topic-Arn", body.TopicArn)
	resp, err := n.own.Do(req)
	if err != nil {
		return true, fmt.Errorf("deliver message: %w", notify.RedactURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	retry, err := n.retrier.Check(resp.StatusCode, io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		err = notify.NewErrorWithReason(notify.GetFailureReasonFromStatusCode(resp.StatusCode), err)
	}
	return retry, err
}
