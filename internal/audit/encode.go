package audit

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// maxText bounds every text of an event, in bytes: callers choose some of them.
const maxText = 1024

const timeFormat = "2006-01-02T15:04:05.000Z"

// line is the form of an event in the file.
type line struct {
	Time        string   `json:"time"`
	RequestID   string   `json:"request_id,omitempty"`
	Principal   string   `json:"principal,omitempty"`
	AccessKeyID string   `json:"access_key_id,omitempty"`
	Subject     string   `json:"subject,omitempty"`
	Service     string   `json:"service,omitempty"`
	Action      string   `json:"action,omitempty"`
	Resource    string   `json:"resource,omitempty"`
	SourceIP    string   `json:"source_ip,omitempty"`
	UserAgent   string   `json:"user_agent,omitempty"`
	Decision    Decision `json:"decision"`
	Status      int      `json:"status,omitempty"`
	Code        string   `json:"code,omitempty"`
	Reason      string   `json:"reason,omitempty"`
	Policy      string   `json:"policy,omitempty"`
	Lost        int64    `json:"lost,omitempty"`
}

func appendEvent(b []byte, e Event) []byte {
	l := line{Time: stamp(e.Time), RequestID: e.RequestID, Principal: e.Principal, AccessKeyID: e.AccessKeyID,
		Subject: e.Subject, Service: e.Service, Action: e.Action, Resource: e.Resource, UserAgent: e.UserAgent, Decision: e.Decision,
		Status: e.Status, Code: e.Code, Reason: e.Reason, Policy: e.Policy}
	if e.Source.IsValid() {
		l.SourceIP = e.Source.String()
	}
	for _, text := range []*string{&l.RequestID, &l.Principal, &l.AccessKeyID, &l.Subject, &l.Service, &l.Action, &l.Resource, &l.UserAgent, &l.Code, &l.Reason, &l.Policy} {
		*text = clip(*text)
	}
	return l.append(b)
}

func appendLost(b []byte, now time.Time, n int64) []byte {
	return line{Time: stamp(now), Decision: Lost, Lost: n, Reason: "events are missing here; mangru_audit_events_total says why"}.append(b)
}

func (l line) append(b []byte) []byte {
	text, err := json.Marshal(l)
	if err != nil {
		panic("audit: strings and numbers have a JSON form: " + err.Error())
	}
	return append(append(b, text...), '\n')
}

func stamp(t time.Time) string { return t.UTC().Format(timeFormat) }

// clip shortens a text at a character's end.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n]) + "..."
}
