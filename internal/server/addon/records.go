package addon

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/server/cluster"
)

type row struct {
	bun.BaseModel `bun:"table:addons,alias:a"`
	ClusterID     string `bun:"cluster_id,pk"`
	Name          string `bun:"name,pk"`
	ID            string `bun:"id"`
	Version       string `bun:"version"`
	RoleARN       string `bun:"role_arn"`
	Configuration string `bun:"configuration"`
	Conflicts     string `bun:"conflicts"`
	Preserve      bool   `bun:"preserve"`
	Status        Status `bun:"status"`
	Issues        string `bun:"issues"`
	Tags          string `bun:"tags"`
	Token         string `bun:"token"`
	CreatedAt     int64  `bun:"created_at"`
	ModifiedAt    int64  `bun:"modified_at"`
}

type updateRow struct {
	bun.BaseModel `bun:"table:addon_updates,alias:u"`
	ID            string `bun:"id,pk"`
	ClusterID     string `bun:"cluster_id"`
	Name          string `bun:"name"`
	Status        string `bun:"status"`
	Params        string `bun:"params"`
	Errors        string `bun:"errors"`
	CreatedAt     int64  `bun:"created_at"`
}

// The states of an update.
const (
	inProgress = "InProgress"
	successful = "Successful"
	failed     = "Failed"
)

// Update is a change of an add-on.
type Update struct {
	ID        string
	Status    string // InProgress, Successful, Failed
	Params    []Param
	Errors    []UpdateError
	CreatedAt time.Time
}

// Param is one thing that an update changes.
type Param struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// UpdateError is a reason why an update failed.
type UpdateError struct {
	Code        string   `json:"errorCode"`
	Message     string   `json:"errorMessage"`
	ResourceIDs []string `json:"resourceIds"`
}

func encode(v any) string {
	b, _ := json.Marshal(v) // strings, and slices and maps of them
	return string(b)
}

func (r *row) addon(c *cluster.Cluster) (*Addon, error) {
	a := &Addon{
		Cluster: c, Name: r.Name, ID: r.ID, Version: r.Version, RoleARN: r.RoleARN, Configuration: r.Configuration, Conflicts: r.Conflicts, preserve: r.Preserve,
		Status: r.Status, CreatedAt: time.UnixMilli(r.CreatedAt).UTC(), ModifiedAt: time.UnixMilli(r.ModifiedAt).UTC(),
	}
	if err := errors.Join(json.Unmarshal([]byte(r.Issues), &a.Issues), json.Unmarshal([]byte(r.Tags), &a.Tags)); err != nil {
		return nil, fmt.Errorf("record of add-on %s: %w", r.Name, err)
	}
	return a, nil
}

func notFound(c *cluster.Cluster, name string) error {
	return &cluster.NotFoundError{Message: fmt.Sprintf("No addon: %s found in cluster: %s", name, c.Name)}
}

func (s *Service) find(ctx context.Context, db bun.IDB, c *cluster.Cluster, name string) (*row, error) {
	var r row
	err := db.NewSelect().Model(&r).Where("cluster_id = ? AND name = ?", c.ID, name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(c, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read add-on %s: %w", name, err)
	}
	return &r, nil
}

// Get returns an add-on of a cluster, or a *cluster.NotFoundError.
func (s *Service) Get(ctx context.Context, account, clusterName, name string) (*Addon, error) {
	c, err := s.cfg.Clusters.Get(ctx, account, clusterName)
	if err != nil {
		return nil, err
	}
	r, err := s.find(ctx, s.db, c, name)
	if err != nil {
		return nil, err
	}
	return r.addon(c)
}

// List returns a cluster's add-ons by name.
func (s *Service) List(ctx context.Context, account, clusterName string) ([]*Addon, error) {
	c, err := s.cfg.Clusters.Get(ctx, account, clusterName)
	if err != nil {
		return nil, err
	}
	var rows []row
	if err := s.db.NewSelect().Model(&rows).Where("cluster_id = ?", c.ID).Order("name").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list add-ons: %w", err)
	}
	out := make([]*Addon, 0, len(rows))
	for i := range rows {
		a, err := rows[i].addon(c)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// sameRequest tells whether a creation repeats the one that made r.
func (r *row) sameRequest(before *row) bool {
	return r.Token != "" && r.Token == before.Token && r.Version == before.Version && r.RoleARN == before.RoleARN && r.Configuration == before.Configuration &&
		r.Conflicts == before.Conflicts && r.Tags == before.Tags
}

// Create records an add-on, which is installed from then on. A repetition with
// the same client request token returns the one that is there.
func (s *Service) Create(ctx context.Context, account, clusterName, name string, in Spec, tags map[string]string, token string) (*Addon, error) {
	if name != Name {
		return nil, &cluster.InvalidError{Field: "addonName", Message: fmt.Sprintf("found %.64q, allowed is %s", name, Name)}
	}
	if err := errors.Join(s.check(in), cluster.CheckTags(tags)); err != nil {
		return nil, err
	}
	c, err := s.cfg.Clusters.Get(ctx, account, clusterName)
	if err != nil {
		return nil, err
	}
	if tags == nil {
		tags = map[string]string{}
	}
	now := s.cfg.Now().UnixMilli()
	r := &row{
		ClusterID: c.ID, Name: name, ID: uuid.NewString(), Version: value(in.Version, ""), RoleARN: value(in.RoleARN, ""),
		Configuration: value(in.Configuration, ""), Conflicts: in.Conflicts, Status: Creating, Issues: "[]", Tags: encode(tags), Token: token, CreatedAt: now, ModifiedAt: now,
	}
	if r.Version == "" {
		r.Version = Versions()[0]
	}
	if r.Conflicts == "" {
		r.Conflicts = None
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var missing *cluster.NotFoundError
		if before, err := s.find(ctx, tx, c, name); err == nil {
			if r.sameRequest(before) {
				r = before
				return nil
			}
			return &cluster.ExistsError{Message: "Addon already exists."}
		} else if !errors.As(err, &missing) {
			return err
		}
		_, err := tx.NewInsert().Model(r).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.nudge()
	return r.addon(c)
}

// Change records what is asked for now, which is brought about from then on.
func (s *Service) Change(ctx context.Context, account, clusterName, name string, in Spec) (*Update, error) {
	if err := s.check(in); err != nil {
		return nil, err
	}
	c, err := s.cfg.Clusters.Get(ctx, account, clusterName)
	if err != nil {
		return nil, err
	}
	u := &updateRow{ID: uuid.NewString(), ClusterID: c.ID, Name: name, Status: inProgress, Errors: "[]", CreatedAt: s.cfg.Now().UnixMilli()}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		r, err := s.find(ctx, tx, c, name)
		if err != nil {
			return err
		}
		if r.Status == Creating || r.Status == Updating || r.Status == Deleting {
			return &cluster.ExistsError{Message: fmt.Sprintf("Addon %s cannot be updated as it is currently in %s state", name, r.Status)}
		}
		params := []Param{}
		for _, f := range []struct {
			kind string
			in   *string
			to   *string
		}{{"AddonVersion", in.Version, &r.Version}, {"ServiceAccountRoleArn", in.RoleARN, &r.RoleARN}, {"ConfigurationValues", in.Configuration, &r.Configuration}} {
			if f.in != nil {
				*f.to = *f.in
				params = append(params, Param{f.kind, *f.in})
			}
		}
		r.Conflicts = None
		if in.Conflicts != "" {
			r.Conflicts = in.Conflicts
			params = append(params, Param{"ResolveConflicts", in.Conflicts})
		}
		u.Params = encode(params)
		r.Status, r.ModifiedAt = Updating, u.CreatedAt
		if _, err := tx.NewUpdate().Model(r).WherePK().Exec(ctx); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(u).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.nudge()
	return u.update()
}

func (u *updateRow) update() (*Update, error) {
	out := &Update{ID: u.ID, Status: u.Status, CreatedAt: time.UnixMilli(u.CreatedAt).UTC()}
	err := errors.Join(json.Unmarshal([]byte(u.Params), &out.Params), json.Unmarshal([]byte(u.Errors), &out.Errors))
	return out, err
}

// GetUpdate returns a change of an add-on, or a *cluster.NotFoundError.
func (s *Service) GetUpdate(ctx context.Context, account, clusterName, name, id string) (*Update, error) {
	a, err := s.Get(ctx, account, clusterName, name)
	if err != nil {
		return nil, err
	}
	var u updateRow
	err = s.db.NewSelect().Model(&u).Where("id = ? AND cluster_id = ? AND name = ?", id, a.Cluster.ID, name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &cluster.NotFoundError{Message: "No update found for ID: " + id}
	}
	if err != nil {
		return nil, err
	}
	return u.update()
}

// Delete has an add-on removed. With preserve what is in the cluster stays.
func (s *Service) Delete(ctx context.Context, account, clusterName, name string, preserve bool) (*Addon, error) {
	c, err := s.cfg.Clusters.Get(ctx, account, clusterName)
	if err != nil {
		return nil, err
	}
	var r *row
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if r, err = s.find(ctx, tx, c, name); err != nil {
			return err
		}
		r.Status, r.Preserve, r.ModifiedAt, r.Issues = Deleting, preserve, s.cfg.Now().UnixMilli(), "[]"
		_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.nudge()
	return r.addon(c)
}
