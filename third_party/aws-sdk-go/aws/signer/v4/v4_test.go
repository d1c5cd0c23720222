package v4

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go/aws/credentials"
)

// The signatures are those that aws-sdk-go v1.55.8 made of the same requests.
func TestSignsAsVersion1(t *testing.T) {
	for body, want := range map[string]string{
		"": "9ff99b3611734a5d57b14f797d345f422cc6e72bfbc53f96e3ef13777afde0a6",
		`{"Filters":{"VmStateNames":["running"]}}`: "763f9d2851b7cbae905b5c922e3fd41479d58b4c908f40f7a8b0cf10db0d3334",
	} {
		r, err := http.NewRequest("POST", "https://api.eu-west-2.outscale.com/api/v1/ReadVms", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", "x/1")
		key := credentials.NewStaticCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "")
		if _, err := NewSigner(key).Sign(r, strings.NewReader(body), "oapi", "eu-west-2", time.Unix(1440938160, 0).UTC()); err != nil {
			t.Fatal(err)
		}
		authorization := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-2/oapi/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=" + want
		if got := r.Header.Get("Authorization"); got != authorization {
			t.Errorf("body %q: Authorization %q, want %q", body, got, authorization)
		}
		if sent, err := io.ReadAll(r.Body); err != nil || string(sent) != body || r.ContentLength != int64(len(body)) {
			t.Errorf("body %q, length %d, %v", sent, r.ContentLength, err)
		}
	}
}

type broken struct{ io.ReadSeeker }

func (broken) Read([]byte) (int, error) { return 0, errors.New("gone") }

func TestBodyThatCannotBeRead(t *testing.T) {
	r, err := http.NewRequest("POST", "https://api.eu-west-2.outscale.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewSigner(credentials.NewStaticCredentials("a", "b", "")).Sign(r, broken{strings.NewReader("x")}, "oapi", "eu-west-2", time.Now())
	if err == nil || r.Header.Get("Authorization") != "" {
		t.Errorf("signed, %v", err)
	}
}
