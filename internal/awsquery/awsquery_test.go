package awsquery

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type pair struct {
	Key   string `query:",required"`
	Value string `query:",always"`
}

type page struct {
	Marker   string
	MaxItems *int
}

type shape struct {
	Name    string `query:"TheName,required"`
	Number  int64
	Flag    bool
	Maybe   *string
	Blob    []byte
	At      time.Time
	Tags    []pair
	Words   []string
	Map     map[string]string
	Counts  map[string]int
	Inner   struct{ A, B string }
	Pointer *pair
	page
	hidden string
	Not    string `query:"-"`
}

func form(t testing.TB, text string) url.Values {
	t.Helper()
	v, err := url.ParseQuery(text)
	require.NoError(t, err)
	return v
}

func TestDecode(t *testing.T) {
	var got shape
	require.NoError(t, Decode(form(t, "Action=X&Version=1&X-Amz-Date=a&x-amz-signature=b&TheName=n%20m&Number=-7&Flag=true&Maybe=&Blob=aGk%3D&At=2026-01-02T03:04:05.5%2B01:00"+
		"&Tags.member.2.Key=b&Tags.member.10.Key=c&Tags.member.1.Key=a&Tags.member.1.Value=1&Words=&Map.entry.1.key=k&Map.entry.1.value=v"+
		"&Counts.entry.3.key=n&Counts.entry.3.value=3&Inner.B=b&Pointer.Key=p&MaxItems=5"), &got))
	empty, five := "", 5
	want := shape{Name: "n m", Number: -7, Flag: true, Maybe: &empty, Blob: []byte("hi"), At: time.Date(2026, 1, 2, 2, 4, 5, 5e8, time.UTC),
		Tags: []pair{{"a", "1"}, {"b", ""}, {"c", ""}}, Words: []string{}, Map: map[string]string{"k": "v"}, Counts: map[string]int{"n": 3}, Pointer: &pair{Key: "p"},
		page: page{MaxItems: &five}}
	want.Inner.B = "b"
	require.Equal(t, want, got)
}

func TestDecodeRefuses(t *testing.T) {
	deep := "TheName=x&" + strings.Repeat("a.", 20) + "b=1"
	for text, want := range map[string][2]string{
		"":                                                      {CodeMissing, "TheName"},
		"TheName=":                                              {CodeValidation, "TheName"},
		"TheName=a&TheName=b":                                   {CodeMalformed, "TheName"},
		"TheName=a&Other=b":                                     {CodeValidation, "Other"},
		"TheName=a&hidden=b":                                    {CodeValidation, "hidden"},
		"TheName=a&Not=b":                                       {CodeValidation, "Not"},
		"TheName.x=a":                                           {CodeValidation, "TheName"},
		"TheName=a&Number=1.5":                                  {CodeValidation, "Number"},
		"TheName=a&Number=9999999999999999999":                  {CodeValidation, "Number"},
		"TheName=a&Flag=yes":                                    {CodeValidation, "Flag"},
		"TheName=a&Blob=*":                                      {CodeValidation, "Blob"},
		"TheName=a&At=today":                                    {CodeValidation, "At"},
		"TheName=a&Tags=x":                                      {CodeValidation, "Tags"},
		"TheName=a&Tags=&Tags.member.1.Key=a":                   {CodeValidation, "Tags"},
		"TheName=a&Tags.member=x":                               {CodeValidation, "Tags.member"},
		"TheName=a&Tags.1.Key=x":                                {CodeValidation, "Tags.1"},
		"TheName=a&Tags.member.0.Key=x":                         {CodeMalformed, "Tags.member.0"},
		"TheName=a&Tags.member.01.Key=x":                        {CodeMalformed, "Tags.member.01"},
		"TheName=a&Tags.member.1001.Key=x":                      {CodeMalformed, "Tags.member.1001"},
		"TheName=a&Tags.member.1.Value=x":                       {CodeMissing, "Tags.member.1.Key"},
		"TheName=a&Tags.member.1=x":                             {CodeValidation, "Tags.member.1"},
		"TheName=a&Tags.member.1.Key=x&Tags.member.1.K=x":       {CodeValidation, "Tags.member.1.K"},
		"TheName=a&Words.member.1.x=x":                          {CodeValidation, "Words.member.1"},
		"TheName=a&Map.entry.1.value=x":                         {CodeMissing, "Map.entry.1.key"},
		"TheName=a&Map.entry.1.key=x&Map.entry.2.key=x":         {CodeValidation, "Map.entry.2"},
		"TheName=a&Counts.entry.1.key=x&Counts.entry.1.value=y": {CodeValidation, "Counts.entry.1.value"},
		"TheName=a&.=b":                                         {CodeMalformed, "."},
		deep:                                                    {CodeMalformed, strings.Repeat("a.", 20) + "b"},
	} {
		var got shape
		var e *Error
		require.ErrorAs(t, Decode(form(t, text), &got), &e, text)
		require.Equal(t, want, [2]string{e.Code, e.Parameter}, text)
		require.NotEmpty(t, e.Reason)
	}
	var long url.Values = map[string][]string{"TheName": {"a"}, strings.Repeat("x", 5000): {"b"}}
	require.Less(t, len(Decode(long, &shape{}).Error()), 200)
}

func TestTagsAreChecked(t *testing.T) {
	type bad struct {
		A string `query:",requird"`
	}
	require.Panics(t, func() { _ = Decode(url.Values{}, &bad{}) })
	require.Panics(t, func() { _ = Decode(url.Values{"A": {"1"}}, &struct{ A float64 }{}) })
}

func full() shape {
	text, n := "", 3
	s := shape{Name: "a<b>&\"c\"", Number: 5, Flag: true, Maybe: &text, Blob: []byte{0, 255}, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Tags: []pair{{"k", ""}, {"l", " é\t"}}, Words: []string{}, Map: map[string]string{"b": "2", "a": ""}, Counts: map[string]int{"z": 0}, Pointer: &pair{Key: "p"},
		page: page{Marker: "m", MaxItems: &n}}
	s.Inner.A = "x"
	return s
}

func TestEncodeIsWhatDecodeReads(t *testing.T) {
	var got shape
	f := Encode("Do", "2010", full())
	require.Equal(t, "Do", f.Get("Action"))
	require.NoError(t, Decode(f, &got))
	require.Equal(t, full(), got)
}

func TestWriteIsWhatReadReads(t *testing.T) {
	w := httptest.NewRecorder()
	require.NoError(t, Write(w, 200, "https://ns/", "Do", "id-1", full()))
	require.Equal(t, "text/xml", w.Header().Get("Content-Type"))
	require.Equal(t, "id-1", w.Header().Get("x-amzn-RequestId"))
	var got shape
	require.NoError(t, Read(w.Result(), "Do", &got))
	require.Equal(t, full(), got)
}

func TestWrittenForm(t *testing.T) {
	type inner struct{ A string }
	for name, tc := range map[string]struct {
		result any
		want   string
	}{
		"nothing": {nil, `<DoResponse xmlns="n"><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></DoResponse>`},
		"empty":   {struct{}{}, `<DoResponse xmlns="n"><DoResult></DoResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></DoResponse>`},
		"all kinds": {struct {
			Nil, Empty []string
			Text       string
			Always     string `query:",always"`
			Number     int
			Flag       bool
			None       *inner
			Some       *inner
			At, Zero   time.Time
			List       []inner
			Map        map[string]int
		}{Empty: []string{}, Some: &inner{}, At: time.Unix(0, 1), List: []inner{{"1"}, {"\x00<"}}, Map: map[string]int{"b": 2, "a": 1}},
			`<DoResponse xmlns="n"><DoResult><Empty></Empty><Always></Always><Number>0</Number><Flag>false</Flag><Some></Some>` +
				`<At>1970-01-01T00:00:00Z</At><List><member><A>1</A></member><member><A>�&lt;</A></member></List>` +
				`<Map><entry><key>a</key><value>1</value></entry><entry><key>b</key><value>2</value></entry></Map></DoResult>` +
				`<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></DoResponse>`},
	} {
		w := httptest.NewRecorder()
		require.NoError(t, Write(w, 200, "n", "Do", "r", tc.result), name)
		require.Equal(t, tc.want+"\n", w.Body.String(), name)
	}
}

func TestErrors(t *testing.T) {
	w := httptest.NewRecorder()
	require.NoError(t, WriteError(w, 404, "n", "NoSuchEntity", "a <b>", "r"))
	require.Equal(t, `<ErrorResponse xmlns="n"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>a &lt;b&gt;</Message></Error>`+
		"<RequestId>r</RequestId></ErrorResponse>\n", w.Body.String())
	var e *ResponseError
	require.ErrorAs(t, Read(w.Result(), "Do", nil), &e)
	require.Equal(t, ResponseError{404, "NoSuchEntity", "a <b>", "r"}, *e)
	w = httptest.NewRecorder()
	require.NoError(t, WriteError(w, 503, "n", "Down", "m", "r"))
	require.Contains(t, w.Body.String(), "<Type>Receiver</Type>")
}

func TestReadRefuses(t *testing.T) {
	for _, body := range []string{"", "x", "<a>", "<a></a><b></b>", "<OtherResponse></OtherResponse>", strings.Repeat("<a>", 100),
		"<DoResponse><DoResult><Number>x</Number></DoResult></DoResponse>"} {
		r := &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body))}
		require.Error(t, Read(r, "Do", &shape{}), body)
	}
	// A proxy's error page is an error all the same.
	var e *ResponseError
	require.ErrorAs(t, Read(&http.Response{StatusCode: 502, Body: io.NopCloser(strings.NewReader("<html></html>"))}, "Do", nil), &e)
	require.Equal(t, 502, e.Status)
}

type brokenWriter struct{ *httptest.ResponseRecorder }

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestConnectionErrors(t *testing.T) {
	require.Error(t, Write(brokenWriter{httptest.NewRecorder()}, 200, "n", "Do", "r", nil))
	require.Error(t, WriteError(brokenWriter{httptest.NewRecorder()}, 400, "n", "C", "m", "r"))
}

// FuzzDecode checks that what is decoded can be encoded, decoded again to the
// same, and written as well-formed XML.
func FuzzDecode(f *testing.F) {
	f.Add("TheName=n&Tags.member.1.Key=a&Tags.member.1.Value=b&Map.entry.1.key=k&Map.entry.1.value=v")
	f.Add("TheName=n&At=2026-01-02T03:04:05Z&Blob=aGk%3D&Words=&Flag=false&Inner.A=%00&Pointer.Key=x&MaxItems=-1&Marker=%ff")
	f.Add("TheName=n&Tags.member.1000.Key=a&Counts.entry.1.key=&.=&At=0000-01-01T00:00:00%2B23:59")
	f.Fuzz(func(t *testing.T, text string) {
		form, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		var got shape
		if err := Decode(form, &got); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("not an *Error: %v", err)
			}
			return
		}
		if !got.At.Truncate(time.Second).Equal(got.At) {
			got.At = got.At.Truncate(time.Second) // written in whole seconds
		}
		var again shape
		if err := Decode(Encode("A", "1", got), &again); err != nil {
			t.Fatalf("%v: %+v", err, got)
		}
		// Zero and empty members are left out of a form.
		if a, b := Encode("A", "1", got), Encode("A", "1", again); !reflect.DeepEqual(a, b) {
			t.Fatalf("%v\n%v", a, b)
		}
		w := httptest.NewRecorder()
		_ = Write(w, 200, "n", "Do", "r", got)
		d := xml.NewDecoder(bytes.NewReader(w.Body.Bytes()))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v: %s", err, strconv.Quote(w.Body.String()))
			}
		}
	})
}

// FuzzRead checks that no answer breaks the reader.
func FuzzRead(f *testing.F) {
	w := httptest.NewRecorder()
	_ = Write(w, 200, "n", "Do", "r", full())
	f.Add(w.Body.String())
	f.Add("<ErrorResponse><Error><Code>C</Code></Error></ErrorResponse>")
	f.Add("<DoResponse><DoResult><Map><entry><key/></entry></Map><Counts/></DoResult></DoResponse>")
	f.Fuzz(func(t *testing.T, body string) {
		var got shape
		_ = Read(&http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body))}, "Do", &got)
		if got.hidden != "" || got.Not != "" {
			t.Fatal("wrote where nothing may be written")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	values := form(b, "Action=CreateRole&Version=2010-05-08&TheName=n&Number=3600&Tags.member.1.Key=a&Tags.member.1.Value=b&Tags.member.2.Key=c&Tags.member.2.Value=d")
	b.ReportAllocs()
	for b.Loop() {
		var s shape
		if err := Decode(values, &s); err != nil {
			b.Fatal(err)
		}
	}
}
