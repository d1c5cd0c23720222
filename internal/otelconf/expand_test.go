package otelconf

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

func readTestdata(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(data)
}

var expansionEnv = map[string]string{
	"HOST": "example.org", "N": "007", "YES": "true", "LIST": "[a, b]", "MAP": "{k: v}", "EMPTY": "", "NAME": "HOST",
	"OUTER": "${env:HOST}", "DOLLARS": "a$$b", "LOOP": "${env:LOOP}x", "QUOTED": `"q"`, "BAD": "a: [", "MULTI": "l1\nl2", "PLAIN": "$1",
}

// expandText expands the value of one scalar, given as YAML.
func expandText(t testing.TB, yaml string, env map[string]string) (*node, []Warning, error) {
	t.Helper()
	docs, err := source{name: "v", data: []byte("v: " + yaml)}.parse()
	if err != nil || len(docs) != 1 || docs[0].get("v") == nil {
		t.Skip("not YAML")
	}
	var ps problems
	var warnings []Warning
	x := &expander{
		getenv:   func(n string) (string, bool) { v, ok := env[n]; return v, ok },
		readFile: func(string) ([]byte, error) { return []byte("from: file"), nil },
		problems: &ps,
		warn: func(pos position, field, format string, args ...any) {
			warnings = append(warnings, Warning{pos.String(), fmt.Sprintf(format, args...)})
		},
	}
	n := x.expand(docs[0], "").get("v")
	if len(ps.list) > 0 {
		return n, warnings, ps.err()
	}
	return n, warnings, nil
}

func TestExpand(t *testing.T) {
	tests := []struct{ in, text, tag string }{
		{`$1`, "$1", tagString},
		{`$$1`, "$1", tagString},
		{`$$$$1`, "$$1", tagString},
		{`$HOST`, "$HOST", tagString},
		{`${1}`, "${1}", tagString},
		{`${1}://${2}${3}`, "${1}://${2}${3}", tagString},
		{`$${1}`, "${1}", tagString},
		{`${1}${env:HOST}`, "${1}example.org", tagString},
		{`$${env:HOST} ${env:HOST}`, "${env:HOST} example.org", tagString},
		{`${env:HOST}`, "example.org", tagString},
		{`${HOST}`, "example.org", tagString},
		{`https://${HOST}:${N}/`, "https://example.org:007/", tagString},
		{`${env:NONE:-d}`, "d", tagString},
		{`${NONE:-d e}`, "d e", tagString},
		{`"${env:NONE:-5}"`, "5", tagInt},
		{`${env:HOST:-d}`, "example.org", tagString},
		{`${env:EMPTY:-d}`, "", tagNull},
		{`${env:N}`, "007", tagInt},
		{`x${env:N}`, "x007", tagString},
		{`${env:YES}`, "true", tagBool},
		{`${env:${NAME}}`, "example.org", tagString},
		{`${env:OUTER}`, "example.org", tagString},
		{`${env:DOLLARS}`, "a$b", tagString},
		{`x${env:DOLLARS}`, "xa$b", tagString},
		{`${env:QUOTED}`, `"q"`, tagString},
		{`${env:BAD}`, "a: [", tagString},
		{`${env:PLAIN}`, "$1", tagString},
		{`'${yaml:a: b}'`, "", ""},
		{`"}${HOST"`, "}${HOST", tagString},
		{`plain`, "plain", tagString},
		{`12`, "12", tagInt},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			n, _, err := expandText(t, tt.in, expansionEnv)
			require.NoError(t, err)
			if tt.tag == "" {
				require.Equal(t, mapping, n.kind)
				return
			}
			require.Equal(t, []string{tt.text, tt.tag}, []string{n.text, n.tag})
		})
	}
	n, _, err := expandText(t, "${env:LIST}", expansionEnv)
	require.NoError(t, err)
	require.Equal(t, sequence, n.kind)
	require.Equal(t, "[a, b]", *n.original)
	n, _, err = expandText(t, "${file:x}", expansionEnv)
	require.NoError(t, err)
	require.Equal(t, "file", n.get("from").text)
	_, warnings, err := expandText(t, "x${env:NONE}", expansionEnv)
	require.NoError(t, err)
	require.Equal(t, []Warning{{"v:1", "${env:NONE} is not set, so the value is empty"}}, warnings)
	for in, want := range map[string]string{
		"${env:LOOP}": "refers to itself", "${env:1x}": "invalid name", "${}": "invalid name", "${s3:x}": `scheme "s3"`, "${env:a$b}": "not allowed inside",
	} {
		_, _, err := expandText(t, in, expansionEnv)
		require.ErrorContains(t, err, want, in)
	}
}

// A number from the environment is a number for a number field and keeps its
// text for a string field.
func TestExpandTyping(t *testing.T) {
	c, err := load(with("    endpoint", "    remote_write_queue: {num_consumers: '${env:N}'}\n    external_labels: {n: '${env:N}', list: '${env:LIST}'}\n    endpoint"), withEnv(expansionEnv))
	require.NoError(t, err)
	require.Equal(t, 7, c.Endpoints[0].MaxShards)
	require.Equal(t, `{list="[a, b]", n="007"}`, c.Endpoints[0].ExternalLabels.String())
}

// envProvider is the collector's env: scheme over a map.
type envProvider struct{}

func (envProvider) Retrieve(_ context.Context, uri string, _ confmap.WatcherFunc) (*confmap.Retrieved, error) {
	name, fallback, hasFallback := strings.Cut(strings.TrimPrefix(uri, "env:"), ":-")
	if !environmentName.MatchString(name) {
		return nil, fmt.Errorf("invalid name %q", name)
	}
	value, ok := expansionEnv[name]
	if !ok && hasFallback {
		value = fallback
	}
	return confmap.NewRetrievedFromYAML([]byte(value))
}
func (envProvider) Scheme() string                 { return "env" }
func (envProvider) Shutdown(context.Context) error { return nil }

type textProvider struct{ text string }

func (p textProvider) Retrieve(context.Context, string, confmap.WatcherFunc) (*confmap.Retrieved, error) {
	return confmap.NewRetrievedFromYAML([]byte(p.text))
}
func (textProvider) Scheme() string                 { return "yaml" }
func (textProvider) Shutdown(context.Context) error { return nil }

func factory(p confmap.Provider) confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider { return p })
}

// reference expands with the collector's own resolver, for a string field.
func reference(yaml string) (string, error) {
	r, err := confmap.NewResolver(confmap.ResolverSettings{
		URIs: []string{"yaml:x"}, DefaultScheme: "env",
		ProviderFactories: []confmap.ProviderFactory{factory(envProvider{}), factory(textProvider{"v: " + yaml})},
	})
	if err != nil {
		return "", err
	}
	conf, err := r.Resolve(context.Background())
	if err != nil {
		return "", err
	}
	var out struct {
		V string `mapstructure:"v"`
	}
	if err := conf.Unmarshal(&out); err != nil {
		return "", err
	}
	return out.V, nil
}

// lenient matches texts that are expanded here on purpose where the collector
// refuses them or leaves a part alone; see the comment in expand.go.
func lenient(text string) bool {
	for i := range len(text) {
		if strings.HasPrefix(text[i:], "$$") || strings.HasPrefix(text[i:], "${") && i+2 < len(text) && text[i+2] >= '0' && text[i+2] <= '9' {
			return strings.Count(text, "}") > 1 || !strings.HasPrefix(text[i:], "$$")
		}
	}
	return false
}

func TestExpandLikeTheCollector(t *testing.T) {
	for _, in := range []string{
		"$1", "$$1", "$$$$1", "$N", "$${1}", "${env:HOST}", "${HOST}", "a${HOST}b", "${env:NONE:-d}", "${env:${NAME}}", "${env:OUTER}", "${env:DOLLARS}",
		"x${env:DOLLARS}$$", "${env:N}", "x${env:N}", "${env:QUOTED}", "${env:BAD}", "${env:LIST}", "${env:MAP}", "${env:EMPTY}", "${env:MULTI}", "$$${HOST}", "$$$${HOST}",
		"}${HOST}", "${HOST", "${env:LOOP}", "${env:1x}", "${}", "'${env:HOST}'", "007", "1.10",
	} {
		want, wantErr := reference(in)
		n, _, err := expandText(t, in, expansionEnv)
		if wantErr != nil {
			require.Error(t, err, "%s: the collector says %v", in, wantErr)
			continue
		}
		require.NoError(t, err, in)
		got := n.text
		if n.original != nil {
			got = *n.original
		}
		if n.isNull() && n.original == nil {
			got = ""
		}
		require.Equal(t, want, got, in)
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$1", "${env:HOST}", "$${1}${2}", "${env:${NAME}}x}", "$$$${HOST}", "${env:NONE:-${env:N}}", "}{$", "${yaml:a: b}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted := quote(text)
		n, _, err := expandText(t, quoted, expansionEnv)
		if err != nil {
			return
		}
		if !strings.Contains(text, "$") {
			require.Equal(t, scalar, n.kind)
		}
		if strings.Contains(text, "yaml:") || strings.Contains(text, "file:") || lenient(text) || strings.Contains(text, ":-") {
			return
		}
		want, refErr := reference(quoted)
		if refErr != nil {
			return
		}
		got := n.text
		if n.original != nil {
			got = *n.original
		}
		require.Equal(t, want, got)
	})
}
