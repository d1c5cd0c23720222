package app

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/server/store"
)

// recordsName is the entry of an archive, its first, with what the control plane
// knows of the workspace. The store passes over it.
const recordsName = "workspace.json"

// workspaceRecords are what makes a workspace besides its samples.
type workspaceRecords struct {
	Workspace     *apsWorkspace     `json:"workspace"`
	Configuration *apsConfiguration `json:"workspaceConfiguration,omitempty"`
	// Rules are YAML by namespace, AlertManager is the definition's YAML.
	Rules        map[string][]byte `json:"ruleGroupsNamespaces,omitempty"`
	AlertManager []byte            `json:"alertManagerDefinition,omitempty"`
}

func newWorkspaceExportCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "export WORKSPACE --to FILE", Short: "Back up a workspace: samples, configuration, rules, alert manager",
		Long: "Writes a workspace's samples and definitions to a tar with checksums. The server goes on\n" +
			"taking samples meanwhile. With --offline the data directory of a server that does not run\n" +
			"is read, samples only, and WORKSPACE is an id.", Args: exactly("a workspace")}
	to := c.Flags().String("to", "", "file to write, which must not be there")
	offline := c.Flags().Bool("offline", false, "read the data directory (--data) of a server that does not run")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if *to == "" {
			return usagef("--to: a file is required")
		}
		return writeNew(*to, func(w io.Writer) error {
			if *offline {
				return withStore(f.data, func(s *store.Store) error { return s.Export(cmd.Context(), args[0], w) })
			}
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			return c.exportWorkspace(cmd.Context(), args[0], w)
		}, func(size int64) error {
			return f.done(cmd, map[string]any{"file": *to, "bytes": size}, "%s: %d bytes", *to, size)
		})
	}
	return c
}

// writeNew writes a file that appears when it is whole.
func writeNew(path string, write func(io.Writer) error, done func(size int64) error) (err error) {
	if _, err := os.Stat(path); err == nil {
		return usagef("%s is there already", path)
	}
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(path + ".part")
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".part", path); err != nil {
		return err
	}
	return done(size)
}

// withStore opens the samples in the data directory of a server that does not
// run.
func withStore(data string, do func(*store.Store) error) (err error) {
	if data == "" {
		data = defaultData
	}
	if err := mustExist(filepath.Join(data, "mangru.db")); err != nil {
		return err
	}
	unlock, err := lockDir(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	s, err := store.New(store.Config{Dir: filepath.Join(data, "workspaces")}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(context.Background())) }()
	return do(s)
}

func (c *awsClient) exportWorkspace(ctx context.Context, name string, w io.Writer) error {
	ws, err := c.workspace(ctx, name)
	if err != nil {
		return err
	}
	records, err := c.records(ctx, ws)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(records, "", "  ")
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: recordsName, Mode: 0o600, Size: int64(len(text))}); err != nil {
		return err
	}
	if _, err := tw.Write(text); err != nil {
		return err
	}
	if err := tw.Flush(); err != nil { // and no end: what the server sends follows
		return err
	}
	res, err := c.data(ctx, ws, "ExportWorkspace", http.MethodGet, "api/v1/admin/tsdb/export", nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if err := wholeArchive(res.Body, w); err != nil {
		return fmt.Errorf("ExportWorkspace: %w", err)
	}
	return nil
}

// wholeArchive copies an archive and makes sure that it has not ended early.
func wholeArchive(from io.Reader, to io.Writer) error {
	r := io.TeeReader(from, to)
	tr, last := tar.NewReader(r), ""
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		last = h.Name
	}
	if last != "manifest.json" {
		return errors.New("the server's archive ended early")
	}
	_, err := io.Copy(io.Discard, r) // what fills the last block
	return err
}

// records reads what the control plane knows of a workspace.
func (c *awsClient) records(ctx context.Context, ws *apsWorkspace) (*workspaceRecords, error) {
	out := &workspaceRecords{Workspace: ws, Rules: make(map[string][]byte)}
	var err error
	if out.Configuration, err = c.configuration(ctx, ws.WorkspaceID); err != nil {
		return nil, err
	}
	names, err := c.ruleNamespaces(ctx, ws.WorkspaceID)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if out.Rules[n], err = c.ruleNamespace(ctx, ws.WorkspaceID, n); err != nil {
			return nil, err
		}
	}
	var def struct {
		D struct {
			Data []byte `json:"data"`
		} `json:"alertManagerDefinition"`
	}
	err = c.aps(ctx, "DescribeAlertManagerDefinition", "GET", "/workspaces/"+ws.WorkspaceID+"/alertmanager/definition", nil, &def)
	if err != nil && !isCode(err, "ResourceNotFoundException") {
		return nil, err
	}
	out.AlertManager = def.D.Data
	return out, nil
}

func newWorkspaceImportCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "import [WORKSPACE] --from FILE", Short: "Restore a workspace, or add a backup's samples to one",
		Long: "Brings the samples of an export into a workspace that runs; what it has already stays.\n" +
			"Without WORKSPACE one is made, with the alias, tags, configuration, rules and alert\n" +
			"manager of the export. With --offline samples go into the data directory of a server that\n" +
			"does not run, and WORKSPACE is an id.", Args: cobra.MaximumNArgs(1)}
	from := c.Flags().String("from", "", "file to read")
	offline := c.Flags().Bool("offline", false, "write to the data directory (--data) of a server that does not run")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		file, err := os.Open(*from)
		if err != nil {
			return usagef("--from: %w", err)
		}
		defer func() { _ = file.Close() }()
		var out *store.Imported
		id := ""
		if *offline {
			if len(args) == 0 {
				return usagef("--offline: the id of a workspace is required")
			}
			id = args[0]
			err = withStore(f.data, func(s *store.Store) error {
				out, err = s.Import(cmd.Context(), id, file)
				return err
			})
		} else {
			id, out, err = f.importWorkspace(cmd.Context(), args, file)
		}
		if err != nil {
			return err
		}
		return f.done(cmd, map[string]any{"workspaceId": id, "imported": out}, "%s: %d samples in %d blocks; %d blocks were there already, %d are older than what the workspace keeps",
			id, out.Samples, out.Blocks, out.Present, out.Expired)
	}
	return c
}

func (f *awsFlags) importWorkspace(ctx context.Context, args []string, file *os.File) (string, *store.Imported, error) {
	c, err := f.client(ctx)
	if err != nil {
		return "", nil, err
	}
	var ws *apsWorkspace
	if len(args) > 0 {
		ws, err = c.workspace(ctx, args[0])
	} else {
		ws, err = c.restoreRecords(ctx, file)
	}
	if err != nil {
		return "", nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", nil, err
	}
	out, err := c.upload(ctx, ws, file)
	return ws.WorkspaceID, out, err
}

// restoreRecords makes the workspace that an archive tells of.
func (c *awsClient) restoreRecords(ctx context.Context, file io.Reader) (*apsWorkspace, error) {
	tr := tar.NewReader(file)
	h, err := tr.Next()
	if err != nil || h.Name != recordsName {
		return nil, usagef("--from: the archive does not begin with %s, as those made --offline: name a workspace for its samples", recordsName)
	}
	var r workspaceRecords
	if err := json.NewDecoder(tr).Decode(&r); err != nil || r.Workspace == nil {
		return nil, usagef("--from: %s: %w", recordsName, err)
	}
	in := map[string]any{"tags": r.Workspace.Tags}
	if r.Workspace.Alias != "" {
		in["alias"] = r.Workspace.Alias
	}
	ws, err := c.createWorkspace(ctx, in)
	if err != nil {
		return nil, err
	}
	base := "/workspaces/" + ws.WorkspaceID
	if r.Configuration != nil {
		r.Configuration.Status = nil
		if err := c.aps(ctx, "UpdateWorkspaceConfiguration", "PATCH", base+"/configuration", r.Configuration, nil); err != nil {
			return nil, err
		}
	}
	for _, name := range sortedKeys(r.Rules) {
		if err := c.pushRules(ctx, ws.WorkspaceID, name, r.Rules[name]); err != nil {
			return nil, err
		}
	}
	if len(r.AlertManager) > 0 {
		if err := c.aps(ctx, "CreateAlertManagerDefinition", "POST", base+"/alertmanager/definition", map[string]any{"data": r.AlertManager}, nil); err != nil {
			return nil, err
		}
	}
	return ws, nil
}

// pieceSize is that of the pieces in which an archive is sent.
const pieceSize = 4 << 20

func (c *awsClient) upload(ctx context.Context, ws *apsWorkspace, file *os.File) (*store.Imported, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	id := uuid.NewString()
	buf := make([]byte, pieceSize)
	for offset := int64(0); ; {
		n, err := io.ReadFull(file, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		last := offset+int64(n) >= st.Size()
		q := url.Values{"upload": {id}, "offset": {strconv.FormatInt(offset, 10)}, "last": {strconv.FormatBool(last)}}
		res, err := c.data(ctx, ws, "ImportWorkspace", http.MethodPost, "api/v1/admin/tsdb/import?"+q.Encode(), buf[:n])
		if err != nil {
			return nil, err
		}
		var out store.Imported
		err = json.NewDecoder(res.Body).Decode(&out)
		_ = res.Body.Close()
		if last {
			return &out, err
		}
		offset += int64(n)
	}
}

// data calls the data plane of a workspace. The caller closes the body.
func (c *awsClient) data(ctx context.Context, ws *apsWorkspace, operation, method, path string, body []byte) (*http.Response, error) {
	base := ws.PrometheusEndpoint
	if c.endpoint != "" { // as it was reached a moment ago
		base = c.endpoint + "/workspaces/" + ws.WorkspaceID + "/"
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	signer, err := sigv4.NewSigner(sigv4.SignConfig{Region: c.region, Service: serviceAPS,
		AccessKey: c.creds.AccessKey, SecretKey: c.creds.SecretKey, SessionToken: c.token}, c.longBase())
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Transport: signer}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if res.StatusCode < http.StatusMultipleChoices {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	return nil, restError(operation, res, text)
}

// longBase is the transport for calls that take long before they answer.
func (c *awsClient) longBase() http.RoundTripper {
	t, ok := c.base.(*http.Transport)
	if !ok {
		return c.base
	}
	t = t.Clone()
	t.ResponseHeaderTimeout = 0
	return t
}
