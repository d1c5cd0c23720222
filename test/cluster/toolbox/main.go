// Command toolbox is the one program inside the images that the test cluster
// makes for itself: the pause process of every pod, the "shop" application,
// and a few tools for tests that look at the cluster from within a pod.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const usage = `usage: toolbox COMMAND
  pause            sleep, reap orphans, leave on a signal
  serve [ADDR]     the shop: pages at /, metrics at /metrics (default :8080)
  get [-auth] URL  fetch a page; the pod's own CA is trusted, -auth sends its token
  resolve NAME     print the addresses of a name
`

// serviceAccount is where the kubelet puts a pod's token and CA.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

func main() { os.Exit(mainCode()) }

func mainCode() int {
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == "pause" {
		args = []string{"pause"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := run(ctx, args, os.Stdout)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "toolbox:", err)
	if errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, usage)
	}
	return 1
}

var errUsage = errors.New("bad arguments")

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "pause":
		pause(ctx)
		return nil
	case len(args) >= 1 && len(args) <= 2 && args[0] == "serve":
		addr := ":8080"
		if len(args) == 2 {
			addr = args[1]
		}
		return serve(ctx, addr)
	case len(args) == 2 && args[0] == "get":
		return get(ctx, args[1], false, out)
	case len(args) == 3 && args[0] == "get" && args[1] == "-auth":
		return get(ctx, args[2], true, out)
	case len(args) == 2 && args[0] == "resolve":
		addrs, err := net.DefaultResolver.LookupHost(ctx, args[1])
		for _, a := range addrs {
			fmt.Fprintln(out, a)
		}
		return err
	}
	return errUsage
}

// pause collects the exit status of every process that is orphaned to it, as
// the first process of a pod must.
func pause(ctx context.Context) {
	children := make(chan os.Signal, 8)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-ctx.Done():
			return
		case <-children:
			for {
				if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}

func serve(ctx context.Context, addr string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	srv := &http.Server{Addr: addr, Handler: newShop(host), ReadHeaderTimeout: 5 * time.Second}
	stopped := context.AfterFunc(ctx, func() {
		// The listener is closed either way; what is left has a second to end.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = srv.Shutdown(grace)
	})
	defer stopped()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func get(ctx context.Context, url string, auth bool, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if ca, err := os.ReadFile(filepath.Join(serviceAccount, "ca.crt")); err == nil {
		pool.AppendCertsFromPEM(ca)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if auth {
		token, err := os.ReadFile(filepath.Join(serviceAccount, "token"))
		if err != nil {
			return fmt.Errorf("reading the pod's token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+string(token))
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(out, res.Body); err != nil {
		return fmt.Errorf("reading %s: %w", url, err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", url, res.Status)
	}
	return nil
}
