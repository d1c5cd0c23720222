//go:build linux

package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/test/bench/process"
)

// Names of the servers.
const (
	Mangru          = "mangru"
	Prometheus      = "prometheus"
	VictoriaMetrics = "victoria-metrics"
)

// server is a program that is measured.
type server struct {
	name, bin, dir string
	port           int
	cmd            *exec.Cmd
	client         *http.Client
	base           string // of the Prometheus API, such as http://127.0.0.1:1/api/v1
	write          string
}

func newServer(ctx context.Context, name, bin, dir string) (*server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{name: name, bin: bin, dir: filepath.Join(dir, name), port: l.Addr().(*net.TCPAddr).Port,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: 10 * time.Minute}}
	_ = l.Close() // the program has the port from here
	s.base = fmt.Sprintf("http://127.0.0.1:%d/api/v1", s.port)
	s.write = s.base + "/write"
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	if name == Mangru {
		return s, s.workspace(ctx)
	}
	return s, nil
}

// settings let servers take a past that goes by faster than time.
const (
	mangruSettings     = "limits: {max_sample_age: 30d}\n"
	prometheusSettings = "global: {}\n"
)

// start runs the program and waits until it answers.
func (s *server) start(ctx context.Context) error {
	listen, config := fmt.Sprintf("127.0.0.1:%d", s.port), filepath.Join(s.dir, "config.yml")
	var args []string
	text, ready := "", "/-/ready"
	switch s.name {
	case Mangru:
		text = mangruSettings
		args = []string{"server", "--config", config, "--data", filepath.Join(s.dir, "data"), "--listen", listen, "--ui", "", "--log-level", "warn"}
	case Prometheus:
		text = prometheusSettings
		args = []string{"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(s.dir, "data"), "--web.listen-address=" + listen,
			"--web.enable-remote-write-receiver", "--log.level=warn", "--query.max-samples=500000000"}
	case VictoriaMetrics:
		ready = "/health"
		args = []string{"-storageDataPath=" + filepath.Join(s.dir, "data"), "-httpListenAddr=" + listen, "-retentionPeriod=100y",
			"-search.maxSamplesPerQuery=2000000000", "-search.maxUniqueTimeseries=2000000", "-search.maxQueryDuration=10m", "-loggerLevel=ERROR"}
	default:
		return fmt.Errorf("%q is not known, there are %s, %s and %s", s.name, Mangru, Prometheus, VictoriaMetrics)
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.CommandContext(ctx, s.bin, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	if err := answers(ctx, "http://"+listen+ready); err != nil {
		return errors.Join(fmt.Errorf("%s does not start, see %s: %w", s.name, log.Name(), err), s.kill())
	}
	return nil
}

// answers waits until a URL answers with 200.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(res.Status)
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

var keyLine = regexp.MustCompile(`(aws_\w+) = (\S+)`)

// workspace makes a workspace and a client that signs.
func (s *server) workspace(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "credentials"))
	if err != nil {
		return err
	}
	key := map[string]string{}
	for _, m := range keyLine.FindAllStringSubmatch(string(text), -1) {
		key[m[1]] = m[2]
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", s.port)
	cmd := exec.CommandContext(ctx, s.bin, "workspace", "create", "bench", "--endpoint", url, "--data", filepath.Join(s.dir, "data"))
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return err
	}
	id, _, _ := strings.Cut(string(out), "\n")
	s.base = url + "/workspaces/" + id + "/api/v1"
	s.write = s.base + "/remote_write"
	signer, err := sigv4.NewSigner(sigv4.SignConfig{Region: "us-east-1", Service: "aps", AccessKey: key["aws_access_key_id"],
		SecretKey: key["aws_secret_access_key"]}, s.client.Transport)
	if err != nil {
		return err
	}
	s.client.Transport = signer
	return nil
}

// kill ends the program as a crash does.
func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = s.cmd.Wait() // it was killed
	return nil
}

// ask sends a query and reads the answer into a writer.
func (s *server) ask(ctx context.Context, path string, form map[string]string, into io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, http.NoBody)
	if err != nil {
		return err
	}
	q := req.URL.Query()
	for k, v := range form {
		q.Set(k, v)
	}
	req.URL.RawQuery = q.Encode()
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 300)) // the status says it
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	_, err = io.Copy(into, res.Body)
	return err
}

// usage is what a process has used.
type usage struct {
	cpu       time.Duration
	rss, peak int64
}

func (s *server) usage() (u usage, err error) {
	if u.cpu, err = process.CPU(s.cmd.Process.Pid); err != nil {
		return u, err
	}
	resident, err := process.Memory(s.cmd.Process.Pid)
	u.rss, u.peak = resident.Now, resident.Peak
	return u, err
}

// disk is what the program's files take, in bytes; log and blocks apart.
func (s *server) disk() (all, wal int64, err error) {
	err = filepath.WalkDir(filepath.Join(s.dir, "data"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreGone(err)
		}
		info, err := e.Info()
		if err != nil {
			return ignoreGone(err)
		}
		all += info.Size()
		if strings.Contains(path, "/wal/") || strings.Contains(path, "/chunks_head/") {
			wal += info.Size()
		}
		return nil
	})
	return all, wal, err
}

// ignoreGone leaves out what is deleted while one looks.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
