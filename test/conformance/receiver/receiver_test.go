package receiver

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// suite is the package of the tests.
const suite = "github.com/prometheus/compliance/remotewrite/receiver"

// leftOut are cases that we do not pass, with the reason.
var leftOut = map[string]string{
	"TestEdgeCaseCombinations/exemplars_without_data": "a series without samples, which 2.0 forbids and the suite only says should be taken; Prometheus refuses it",
}

// program returns the program under test: $MANGRU, or what `make build` made.
func program(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("MANGRU")
	if bin == "" {
		bin = filepath.Join("..", "..", "..", "bin", "mangru")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Skipf("no program to test, make build makes it: %v", err)
	}
	return bin
}

var listens = regexp.MustCompile(`server listens.* url=(http://\S+)`)

// serve starts a server on a port of its own and returns its URL.
func serve(t *testing.T, bin, dir string) string {
	t.Helper()
	cmd := exec.Command(bin, "server", "--data", dir, "--listen", "127.0.0.1:0", "--ui", "")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		<-drained
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if m := listens.FindStringSubmatch(line); m != nil {
			go func() {
				defer close(drained)
				_, _ = io.Copy(io.Discard, lines) // so that it can go on writing
			}()
			return m[1]
		}
		if err != nil {
			close(drained)
			t.Fatalf("the server did not start: %v", err)
		}
	}
}

// config writes the file that tells the suite whom to write to: a Prometheus file.
func config(t *testing.T, bin, dir, url string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "credentials"))
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) string {
		m := regexp.MustCompile(name + ` = (\S+)`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in the credentials", name)
		}
		return string(m[1])
	}
	id, secret := value("aws_access_key_id"), value("aws_secret_access_key")
	cmd := exec.Command(bin, "workspace", "create", "receiver", "--endpoint", url)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_REGION=us-east-1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	workspace, _, _ := strings.Cut(string(out), "\n")
	file := filepath.Join(dir, "suite.yml")
	text = fmt.Appendf(nil, "remote_write:\n- name: mangru\n  url: %s/workspaces/%s/api/v1/remote_write\n  sigv4: {region: us-east-1, access_key: %q, secret_key: %q}\n",
		url, workspace, id, secret)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestReceiver runs the suite, 2.0 and what it has of 1.0, signed.
func TestReceiver(t *testing.T) {
	bin, dir := program(t), t.TempDir()
	var skip []string
	for name, why := range leftOut {
		t.Logf("left out: %s: %s", name, why)
		skip = append(skip, name)
	}
	file := config(t, bin, dir, serve(t, bin, dir))
	cmd := exec.Command("go", "test", "-count=1", "-v", "-skip", strings.Join(skip, "|"), suite)
	cmd.Env = append(os.Environ(), "PROMETHEUS_RW2_COMPLIANCE_CONFIG_FILE="+file)
	out, err := cmd.CombinedOutput()
	passed := bytes.Count(out, []byte("/mangru (")) // the case against us, not the group
	if err != nil || bytes.Contains(out, []byte("--- FAIL")) {
		t.Fatalf("%v\n%s", err, out)
	}
	if passed < 60 {
		t.Fatalf("only %d cases ran:\n%s", passed, out)
	}
	t.Logf("%d cases passed", passed)
}
