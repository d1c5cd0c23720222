package records

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/uptrace/bun"
)

// Kinds of documents.
const (
	KindPlaylist       = "playlist"
	KindLibraryElement = "library-element"
	KindSnapshot       = "snapshot"
	KindPreferences    = "preferences"
	KindShortURL       = "short-url"
	KindQueryHistory   = "query-history"
	KindAlertRule      = "alert-rule"
	KindContactPoint   = "contact-point"
	KindPolicies       = "policies"
	KindMuteTiming     = "mute-timing"
	KindTemplate       = "notification-template"
)

// Document is a small thing that is read and written whole.
type Document struct {
	bun.BaseModel `bun:"table:dash_documents"`

	WorkspaceID string `bun:",pk"`
	Kind        string `bun:",pk"`
	UID         string `bun:"uid,pk"`
	ID          int64
	// Owner is whose it is: a user for remembered queries, a folder for library
	// elements; empty for everybody's.
	Owner     string
	Name      string
	Version   int64
	Data      json.RawMessage `bun:"type:text"`
	CreatedAt int64
	UpdatedAt int64
	ExpiresAt int64 // 0: never
}

// Document returns the document with a uid. One whose time is over is not found.
func (s *Store) Document(ctx context.Context, ws, kind, uid string) (*Document, error) {
	var d Document
	err := s.db.NewSelect().Model(&d).Where("workspace_id = ? AND kind = ? AND uid = ?", ws, kind, uid).
		Where("expires_at = 0 OR expires_at > ?", s.millis()).Scan(ctx)
	return &d, notFound(err)
}

// Documents lists the documents of a kind, the newest first; only those of owner
// unless that is nil.
func (s *Store) Documents(ctx context.Context, ws, kind string, owner *string) ([]*Document, error) {
	var list []*Document
	q := s.db.NewSelect().Model(&list).Where("workspace_id = ? AND kind = ?", ws, kind).
		Where("expires_at = 0 OR expires_at > ?", s.millis()).Order("created_at DESC", "id DESC")
	if owner != nil {
		q = q.Where("owner = ?", *owner)
	}
	return list, q.Scan(ctx)
}

// CreateDocument stores a new document; without a uid it gets one.
func (s *Store) CreateDocument(ctx context.Context, d *Document) error {
	if err := checkUID(d.UID); err != nil {
		return err
	}
	if d.UID == "" {
		d.UID = NewUID()
	}
	d.Version, d.CreatedAt, d.UpdatedAt = 1, s.millis(), s.millis()
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model(d).WherePK().Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return ErrNameTaken
		}
		if d.ID, err = number(ctx, tx, d.WorkspaceID, d.Kind); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(d).Exec(ctx)
		return err
	})
}

// PutDocument stores a document in place of the one with its uid, or as a new one.
func (s *Store) PutDocument(ctx context.Context, d *Document) error {
	d.UpdatedAt = s.millis()
	err := changed(s.db.NewUpdate().Model(d).Column("owner", "name", "version", "data", "updated_at", "expires_at").WherePK().Exec(ctx))
	if errors.Is(err, ErrNotFound) {
		return s.CreateDocument(ctx, d)
	}
	return err
}

// DeleteDocument removes a document.
func (s *Store) DeleteDocument(ctx context.Context, ws, kind, uid string) error {
	return changed(s.db.NewDelete().Model((*Document)(nil)).Where("workspace_id = ? AND kind = ? AND uid = ?", ws, kind, uid).Exec(ctx))
}

// TrimDocuments keeps the newest documents of an owner and removes the rest.
func (s *Store) TrimDocuments(ctx context.Context, ws, kind, owner string, keep int) error {
	list, err := s.Documents(ctx, ws, kind, &owner)
	if err != nil || len(list) <= keep {
		return err
	}
	for _, d := range list[keep:] {
		if err := s.DeleteDocument(ctx, ws, kind, d.UID); err != nil {
			return err
		}
	}
	return nil
}

// Annotation marks a moment or a time on boards.
type Annotation struct {
	bun.BaseModel `bun:"table:dash_annotations"`

	WorkspaceID string `bun:",pk"`
	ID          int64  `bun:",pk"`
	BoardUID    string `bun:"board_uid"` // empty: of all boards
	PanelID     int64
	UserID      int64
	Time        int64
	TimeEnd     int64
	Text        string
	Tags        []string        `bun:"type:text"`
	Data        json.RawMessage `bun:"type:text"`
	CreatedAt   int64
	UpdatedAt   int64
}

// AnnotationQuery says which annotations are wanted; zero values don't restrict.
type AnnotationQuery struct {
	BoardUID string
	AnyBoard bool
	PanelID  int64
	UserID   int64
	From, To int64
	Limit    int
}

// Annotations lists annotations, the newest first.
func (s *Store) Annotations(ctx context.Context, ws string, q AnnotationQuery) ([]*Annotation, error) {
	var list []*Annotation
	sel := s.db.NewSelect().Model(&list).Where("workspace_id = ?", ws).Order("time DESC", "id DESC")
	if q.BoardUID != "" {
		sel = sel.Where("board_uid = ?", q.BoardUID)
	}
	if q.PanelID != 0 {
		sel = sel.Where("panel_id = ?", q.PanelID)
	}
	if q.UserID != 0 {
		sel = sel.Where("user_id = ?", q.UserID)
	}
	if q.From > 0 && q.To > 0 {
		sel = sel.Where("time <= ? AND time_end >= ?", q.To, q.From)
	}
	if q.Limit > 0 {
		sel = sel.Limit(q.Limit)
	}
	return list, sel.Scan(ctx)
}

// Annotation returns one annotation.
func (s *Store) Annotation(ctx context.Context, ws string, id int64) (*Annotation, error) {
	var a Annotation
	err := s.db.NewSelect().Model(&a).Where("workspace_id = ? AND id = ?", ws, id).Scan(ctx)
	return &a, notFound(err)
}

// CreateAnnotation stores a new annotation.
func (s *Store) CreateAnnotation(ctx context.Context, a *Annotation) error {
	now := s.millis()
	a.CreatedAt, a.UpdatedAt = now, now
	if a.Time == 0 {
		a.Time = now
	}
	if a.TimeEnd == 0 {
		a.TimeEnd = a.Time
	}
	if len(a.Data) == 0 {
		a.Data = json.RawMessage("{}")
	}
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) (err error) {
		if a.ID, err = number(ctx, tx, a.WorkspaceID, "annotation"); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(a).Exec(ctx)
		return err
	})
}

// UpdateAnnotation replaces an annotation.
func (s *Store) UpdateAnnotation(ctx context.Context, a *Annotation) error {
	a.UpdatedAt = s.millis()
	return changed(s.db.NewUpdate().Model(a).WherePK().Exec(ctx))
}

// DeleteAnnotation removes an annotation.
func (s *Store) DeleteAnnotation(ctx context.Context, ws string, id int64) error {
	return changed(s.db.NewDelete().Model((*Annotation)(nil)).Where("workspace_id = ? AND id = ?", ws, id).Exec(ctx))
}

// Sweep removes documents and tokens' leftovers whose time is over.
func (s *Store) Sweep(ctx context.Context) error {
	_, err := s.db.NewDelete().Model((*Document)(nil)).Where("expires_at > 0 AND expires_at < ?", s.millis()).Exec(ctx)
	return err
}
