//go:build e2e

// Package e2e runs the real program as its users do: built binary, real AWS CLI
// and curl, a real Kubernetes, a real browser. `make e2e` builds what it needs.
package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/sigv4"
)

// root is the repository, seen from this folder.
const root = "../.."

// binary is the program to test: $MANGRU_BIN, or the one that `make build` makes.
func binary(t *testing.T) string {
	t.Helper()
	if file := os.Getenv("MANGRU_BIN"); file != "" {
		return file
	}
	file, err := filepath.Abs(filepath.Join(root, "bin", "mangru"))
	require.NoError(t, err)
	_, err = os.Stat(file)
	require.NoError(t, err, "run `make build` first")
	return file
}

// eventually waits until check returns nil, and fails with its last error.
func eventually(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("gave up after %s waiting for %s: %v", limit, what, err)
		case <-tick.C:
		}
	}
}

// process is a running mangru.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	exited chan struct{}

	mu  sync.Mutex
	out strings.Builder
}

// launch starts the program with the arguments, after a prefix such as
// "ip netns exec x".
func launch(t *testing.T, env []string, prefix []string, args ...string) *process {
	t.Helper()
	line := append(append([]string{}, prefix...), append([]string{binary(t)}, args...)...)
	p := &process{t: t, cmd: exec.Command(line[0], line[1:]...), exited: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	pipe, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.cmd.Stderr = p.cmd.Stdout
	require.NoError(t, p.cmd.Start())
	go func() {
		lines := bufio.NewScanner(pipe)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.out.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // the exit code is read from ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of mangru %s:\n%s", strings.Join(args, " "), tail(p.output(), 120))
		}
	})
	return p
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// stop asks the process to end and returns its exit code.
func (p *process) stop() int {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("did not stop within 30 s:\n%s", tail(p.output(), 40))
	}
	return p.cmd.ProcessState.ExitCode()
}

// site is what the first screen of `mangru up` says.
type site struct {
	*process
	login, ui, token         string
	workspace, remote, query string
	data                     string
	took                     time.Duration
}

var (
	loginLine  = regexp.MustCompile(`(http://\S+)/login#token=(\S+)`)
	remoteLine = regexp.MustCompile(`http://\S+/workspaces/(ws-[0-9a-f-]+)/api/v1/remote_write`)
	queryLine  = regexp.MustCompile(`http://\S+/workspaces/ws-[0-9a-f-]+/api/v1/query`)
)

// up runs `mangru up` and waits for its first screen.
func up(t *testing.T, data string, env, prefix []string, args ...string) *site {
	t.Helper()
	began := time.Now()
	s := &site{process: launch(t, env, prefix, append([]string{"up", "--data", data}, args...)...), data: data}
	eventually(t, 60*time.Second, "the first screen", func() error {
		select {
		case <-s.exited:
			t.Fatalf("mangru up ended:\n%s", s.output())
		default:
		}
		text := s.output()
		login, remote, query := loginLine.FindStringSubmatch(text), remoteLine.FindStringSubmatch(text), queryLine.FindString(text)
		if login == nil || remote == nil || query == "" {
			return errors.New("not complete yet: " + text)
		}
		s.login, s.ui, s.token = login[0], login[1], login[2]
		s.remote, s.workspace, s.query = remote[0], remote[1], query
		return nil
	})
	s.took = time.Since(began)
	return s
}

// endpoint is the address of the AWS-shaped APIs.
func (s *site) endpoint() string {
	u, err := url.Parse(s.remote)
	require.NoError(s.t, err)
	return u.Scheme + "://" + u.Host
}

// awsEnv is what the first screen tells people to export.
func (s *site) awsEnv() []string {
	return []string{
		"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(s.data, "credentials"), "AWS_DEFAULT_REGION=us-east-1",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "NO_PROXY=*",
	}
}

func (s *site) keys() (id, secret string) {
	text, err := os.ReadFile(filepath.Join(s.data, "credentials"))
	require.NoError(s.t, err)
	get := func(name string) string {
		m := regexp.MustCompile(name + `\s*=\s*(\S+)`).FindSubmatch(text)
		require.NotNil(s.t, m, name)
		return string(m[1])
	}
	return get("aws_access_key_id"), get("aws_secret_access_key")
}

// client signs its requests as the first user.
func (s *site) client() *http.Client {
	id, secret := s.keys()
	signer, err := sigv4.NewSigner(sigv4.SignConfig{Region: "us-east-1", Service: "aps", AccessKey: id, SecretKey: secret}, http.DefaultTransport)
	require.NoError(s.t, err)
	return &http.Client{Transport: signer, Timeout: 20 * time.Second}
}

// sample is one series of an instant query's answer.
type sample struct {
	Metric map[string]string
	Value  float64
}

// ask runs an instant query, signed.
func (s *site) ask(expr string) ([]sample, error) {
	res, err := s.client().PostForm(s.query, url.Values{"query": {expr}})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var reply struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal(text, &reply); err != nil || reply.Status != "success" {
		return nil, fmt.Errorf("query %s: %s: %s", expr, res.Status, text)
	}
	var out []sample
	for _, r := range reply.Data.Result {
		var v float64
		if _, err := fmt.Sscan(r.Value[1].(string), &v); err != nil {
			return nil, err
		}
		out = append(out, sample{r.Metric, v})
	}
	return out, nil
}

// expect waits until every series of a query has the value, and there are as
// many as wanted (0: any number but none).
func (s *site) expect(limit time.Duration, expr string, series int, value float64) {
	s.t.Helper()
	eventually(s.t, limit, expr, func() error {
		got, err := s.ask(expr)
		if err != nil {
			return err
		}
		if len(got) == 0 || (series > 0 && len(got) != series) {
			return fmt.Errorf("%d series, wanted %d: %v", len(got), series, got)
		}
		for _, g := range got {
			if g.Value != value {
				return fmt.Errorf("%v is %v, wanted %v", g.Metric, g.Value, value)
			}
		}
		return nil
	})
}

// run executes a command and returns what it printed, failing if it failed.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(t, env, name, args...)
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return out
}

func try(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// aws runs the real AWS CLI against the site, with nothing changed but the endpoint.
func (s *site) aws(args ...string) string {
	s.t.Helper()
	return run(s.t, s.awsEnv(), awsCLI(), append([]string{"--endpoint-url", s.endpoint(), "--output", "json"}, args...)...)
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

// awsCLI prefers Debian's own AWS CLI to another one in the PATH.
func awsCLI() string {
	if _, err := os.Stat("/usr/bin/aws"); err == nil {
		return "/usr/bin/aws"
	}
	return "aws"
}
