package api

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/server/workspace"
)

// namespaces is RuleNamespaces in memory.
type namespaces struct {
	kept map[string]*workspace.Definition
}

func (n *namespaces) Create(_ context.Context, ws *workspace.Workspace, in workspace.Definition, _ string) (*workspace.Definition, error) {
	if n.kept[in.Name] != nil {
		return nil, &workspace.ConflictError{ID: in.Name, Message: "It exists."}
	}
	if strings.HasPrefix(in.Name, "too-many") {
		return nil, &workspace.QuotaError{Message: "No more."}
	}
	in.Status, in.CreatedAt, in.ModifiedAt = workspace.StatusCreating, time.UnixMilli(1500), time.UnixMilli(1500)
	if in.Tags == nil {
		in.Tags = map[string]string{}
	}
	n.kept[in.Name] = &in
	return &in, nil
}

func (n *namespaces) Put(ctx context.Context, ws *workspace.Workspace, name string, data []byte, _ string) (*workspace.Definition, error) {
	d, err := n.Describe(ctx, ws, name)
	if err == nil {
		d.Data, d.Status, d.StatusReason = data, workspace.StatusUpdateFailed, "line 1: not a rule"
	}
	return d, err
}

func (n *namespaces) Describe(_ context.Context, _ *workspace.Workspace, name string) (*workspace.Definition, error) {
	if d := n.kept[name]; d != nil {
		return d, nil
	}
	return nil, &workspace.NotFoundError{Type: workspace.TypeRuleNamespace, ID: name}
}

func (n *namespaces) List(_ context.Context, _ *workspace.Workspace, prefix string, most int, next string) ([]*workspace.Definition, string, error) {
	var out []*workspace.Definition
	for _, name := range slices.Sorted(maps.Keys(n.kept)) {
		if strings.HasPrefix(name, prefix) && name > next {
			if len(out) == most {
				return out, out[most-1].Name, nil
			}
			out = append(out, n.kept[name])
		}
	}
	return out, "", nil
}

func (n *namespaces) Delete(_ context.Context, ws *workspace.Workspace, name, _ string) error {
	if _, err := n.Describe(context.Background(), ws, name); err != nil {
		return err
	}
	delete(n.kept, name)
	return nil
}

func (n *namespaces) Tag(ctx context.Context, ws *workspace.Workspace, name string, tags map[string]string) error {
	d, err := n.Describe(ctx, ws, name)
	if err == nil {
		maps.Copy(d.Tags, tags)
	}
	return err
}

func (n *namespaces) Untag(ctx context.Context, ws *workspace.Workspace, name string, keys []string) error {
	d, err := n.Describe(ctx, ws, name)
	if err == nil {
		maps.DeleteFunc(d.Tags, func(k, _ string) bool { return slices.Contains(keys, k) })
	}
	return err
}

// definitions is AlertManagers in memory.
type definitions struct {
	kept map[string]*workspace.Definition
}

func (d *definitions) Create(_ context.Context, ws *workspace.Workspace, data []byte, _ string) (*workspace.Definition, error) {
	if d.kept[ws.ID] != nil {
		return nil, &workspace.ConflictError{Type: workspace.TypeAlertDefinition, ID: ws.ID, Message: "It exists."}
	}
	d.kept[ws.ID] = &workspace.Definition{Data: data, Status: workspace.StatusCreating, CreatedAt: time.UnixMilli(2500), ModifiedAt: time.UnixMilli(2500)}
	return d.kept[ws.ID], nil
}

func (d *definitions) Put(ctx context.Context, ws *workspace.Workspace, data []byte, _ string) (*workspace.Definition, error) {
	one, err := d.Describe(ctx, ws)
	if err == nil {
		one.Data, one.Status = data, workspace.StatusUpdating
	}
	return one, err
}

func (d *definitions) Describe(_ context.Context, ws *workspace.Workspace) (*workspace.Definition, error) {
	if one := d.kept[ws.ID]; one != nil {
		return one, nil
	}
	return nil, &workspace.NotFoundError{Type: workspace.TypeAlertDefinition, ID: ws.ID}
}

func (d *definitions) Delete(ctx context.Context, ws *workspace.Workspace, _ string) error {
	_, err := d.Describe(ctx, ws)
	delete(d.kept, ws.ID)
	return err
}

// scrapeRunner runs scrapers of one cluster.
type scrapeRunner struct{}

const scraped = "arn:aws:eks:us-east-1:000000000000:cluster/known"

func (scrapeRunner) Check(_ context.Context, s *workspace.Scraper) error {
	if s.Source.ClusterARN != scraped {
		return errors.New("no such cluster is registered")
	}
	return nil
}
func (scrapeRunner) Run(context.Context, *workspace.Scraper) error { return nil }
func (scrapeRunner) Stop(context.Context, string) error            { return nil }

// logSinks deliver everything.
type logSinks struct{}

func (logSinks) Check(context.Context, workspace.LogKind, workspace.LogDestination) error { return nil }

// FakeRuleNamespaces and FakeAlertManagers are for tests outside of the package.
func FakeRuleNamespaces() RuleNamespaces {
	return &namespaces{kept: map[string]*workspace.Definition{}}
}

func FakeAlertManagers() AlertManagers { return &definitions{kept: map[string]*workspace.Definition{}} }
