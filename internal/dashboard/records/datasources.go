package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/uptrace/bun"
)

// DataSource says where and how panels query.
type DataSource struct {
	bun.BaseModel `bun:"table:dash_data_sources"`

	WorkspaceID     string `bun:",pk"`
	UID             string `bun:"uid,pk"`
	ID              int64
	Name            string
	Type            string
	URL             string `bun:"url"`
	Access          string
	IsDefault       bool
	BasicAuth       bool
	BasicAuthUser   string
	WithCredentials bool
	DatabaseName    string
	UserName        string
	JSONData        map[string]any    `bun:"json_data,type:text"`
	SecureJSONData  map[string]string `bun:"secure_json_data,type:text"` // sealed
	Version         int64
	ProvisionedBy   string
	CreatedAt       int64
	UpdatedAt       int64
}

// SecureFields names the secrets that are set, which is all that may be shown of them.
func (d *DataSource) SecureFields() map[string]bool {
	set := make(map[string]bool, len(d.SecureJSONData))
	for name := range d.SecureJSONData {
		set[name] = true
	}
	return set
}

// Errors of data sources, in Grafana's words.
var (
	ErrDataSourceNotFound = errors.New("data source not found")
	ErrDataSourceName     = errors.New("data source with the same name already exists")
	ErrDataSourceUID      = errors.New("data source with the same uid already exists")
	ErrDataSourceVersion  = errors.New("trying to update old version of datasource")
)

// DataSources lists the data sources by name.
func (s *Store) DataSources(ctx context.Context, ws string) ([]*DataSource, error) {
	var list []*DataSource
	err := s.db.NewSelect().Model(&list).Where("workspace_id = ?", ws).Order("name").Scan(ctx)
	slices.SortFunc(list, func(a, b *DataSource) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return list, err
}

func (s *Store) findDataSource(ctx context.Context, db bun.IDB, ws, where string, arg any) (*DataSource, error) {
	var d DataSource
	err := notFound(db.NewSelect().Model(&d).Where("workspace_id = ?", ws).Where(where, arg).Scan(ctx))
	if errors.Is(err, ErrNotFound) {
		return nil, ErrDataSourceNotFound
	}
	return &d, err
}

// DataSource returns the data source with a uid.
func (s *Store) DataSource(ctx context.Context, ws, uid string) (*DataSource, error) {
	return s.findDataSource(ctx, s.db, ws, "uid = ?", uid)
}

// DataSourceNamed returns the data source with a name.
func (s *Store) DataSourceNamed(ctx context.Context, ws, name string) (*DataSource, error) {
	return s.findDataSource(ctx, s.db, ws, "name = ?", name)
}

// DataSourceByID returns the data source with a number.
func (s *Store) DataSourceByID(ctx context.Context, ws, id string) (*DataSource, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return nil, ErrDataSourceNotFound
	}
	return s.findDataSource(ctx, s.db, ws, "id = ?", n)
}

// CreateDataSource stores a new data source. secrets are encrypted and never
// come back but by Secrets. The first one is the default.
func (s *Store) CreateDataSource(ctx context.Context, d *DataSource, secrets map[string]string) error {
	if err := checkUID(d.UID); err != nil {
		return err
	}
	if d.UID == "" {
		d.UID = NewUID()
	}
	d.Version, d.CreatedAt, d.UpdatedAt = 1, s.millis(), s.millis()
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := s.freeNames(ctx, tx, d); err != nil {
			return err
		}
		n, err := tx.NewSelect().Model((*DataSource)(nil)).Where("workspace_id = ?", d.WorkspaceID).Count(ctx)
		if err != nil {
			return err
		}
		d.IsDefault = d.IsDefault || n == 0
		if d.ID, err = number(ctx, tx, d.WorkspaceID, "datasource"); err != nil {
			return err
		}
		s.sealInto(d, secrets)
		if err := oneDefault(ctx, tx, d); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(d).Exec(ctx); err != nil {
			return fmt.Errorf("insert data source: %w", err)
		}
		return nil
	})
}

func (s *Store) freeNames(ctx context.Context, tx bun.Tx, d *DataSource) error {
	var others []*DataSource
	err := tx.NewSelect().Model(&others).Where("workspace_id = ? AND (name = ? OR uid = ?)", d.WorkspaceID, d.Name, d.UID).Scan(ctx)
	if err != nil {
		return err
	}
	for _, o := range others {
		if o.ID == d.ID && d.ID != 0 {
			continue
		}
		if o.UID == d.UID {
			return ErrDataSourceUID
		}
		return ErrDataSourceName
	}
	return nil
}

// sealInto encrypts secrets beside those that are there; an empty one is taken away.
func (s *Store) sealInto(d *DataSource, secrets map[string]string) {
	d.SecureJSONData = maps.Clone(d.SecureJSONData)
	if d.SecureJSONData == nil {
		d.SecureJSONData = map[string]string{}
	}
	if d.JSONData == nil {
		d.JSONData = map[string]any{}
	}
	for name, plain := range secrets {
		if plain == "" {
			delete(d.SecureJSONData, name)
			continue
		}
		d.SecureJSONData[name] = s.encrypt(plain, sealOwner(d, name))
	}
}

// sealOwner binds a sealed value to its data source and field.
func sealOwner(d *DataSource, field string) string {
	return fmt.Sprintf("data source %s/%d/%s", d.WorkspaceID, d.ID, field)
}

func oneDefault(ctx context.Context, tx bun.Tx, d *DataSource) error {
	if !d.IsDefault {
		return nil
	}
	_, err := tx.NewUpdate().Model((*DataSource)(nil)).Set("is_default = ?", false).Where("workspace_id = ? AND id <> ?", d.WorkspaceID, d.ID).Exec(ctx)
	return err
}

// UpdateDataSource replaces the data source with the number d.ID. Secrets that
// are not given stay. version is the one that the author has seen, 0 for any.
func (s *Store) UpdateDataSource(ctx context.Context, d *DataSource, secrets map[string]string, version int64, provisioner string) error {
	if err := checkUID(d.UID); err != nil {
		return err
	}
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		old, err := s.findDataSource(ctx, tx, d.WorkspaceID, "id = ?", d.ID)
		if err != nil {
			return err
		}
		if old.ProvisionedBy != "" && old.ProvisionedBy != provisioner {
			return ErrReadOnly
		}
		if version != 0 && version != old.Version {
			return ErrDataSourceVersion
		}
		if d.UID == "" {
			d.UID = old.UID
		}
		if err := s.freeNames(ctx, tx, d); err != nil {
			return err
		}
		d.Version, d.CreatedAt, d.UpdatedAt, d.SecureJSONData = old.Version+1, old.CreatedAt, s.millis(), old.SecureJSONData
		s.sealInto(d, secrets)
		if err := oneDefault(ctx, tx, d); err != nil {
			return err
		}
		// A primary key is not part of what bun updates.
		_, err = tx.NewUpdate().Model(d).Where("workspace_id = ? AND id = ?", d.WorkspaceID, d.ID).Exec(ctx)
		if err == nil && d.UID != old.UID {
			_, err = tx.NewUpdate().Model((*DataSource)(nil)).Set("uid = ?", d.UID).Where("workspace_id = ? AND id = ?", d.WorkspaceID, d.ID).Exec(ctx)
		}
		return err
	})
}

// DeleteDataSource removes a data source.
func (s *Store) DeleteDataSource(ctx context.Context, ws, uid, provisioner string) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		d, err := s.findDataSource(ctx, tx, ws, "uid = ?", uid)
		if err != nil {
			return err
		}
		if d.ProvisionedBy != "" && d.ProvisionedBy != provisioner {
			return ErrReadOnly
		}
		_, err = tx.NewDelete().Model(d).WherePK().Exec(ctx)
		return err
	})
}

// Secrets returns the secrets of a data source in the clear, for those who
// connect to it.
func (s *Store) Secrets(d *DataSource) (map[string]string, error) {
	plain := make(map[string]string, len(d.SecureJSONData))
	for name, sealed := range d.SecureJSONData {
		text, err := s.decrypt(sealed, sealOwner(d, name))
		if err != nil {
			return nil, fmt.Errorf("data source %s, secret %s: %w", d.Name, name, err)
		}
		plain[name] = text
	}
	return plain, nil
}

// Text returns a text of the data source's jsonData, trying several spellings.
func (d *DataSource) Text(names ...string) string {
	for _, n := range names {
		switch v := d.JSONData[n].(type) {
		case string:
			if v != "" {
				return v
			}
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		case json.Number:
			return v.String()
		}
	}
	return ""
}

// Flag reports whether a switch of the data source's jsonData is on.
func (d *DataSource) Flag(name string) bool {
	v, _ := d.JSONData[name].(bool)
	return v
}
