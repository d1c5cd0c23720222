package records

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/uptrace/bun"
)

// MaxBoardBytes bounds the JSON of one board.
const MaxBoardBytes = 8 << 20

// Board is a dashboard with what the workspace knows about it.
type Board struct {
	bun.BaseModel `bun:"table:dash_boards"`

	WorkspaceID string `bun:",pk"`
	UID         string `bun:"uid,pk"`
	ID          int64
	FolderUID   string `bun:"folder_uid"` // empty: no folder
	Title       string
	Tags        []string `bun:"type:text"`
	Version     int64
	GnetID      int64 // number on grafana.com, 0 for none
	// Data is the board's JSON. Its id, uid and version are those above.
	Data          json.RawMessage `bun:"type:text"`
	ProvisionedBy string          // who keeps it up to date; empty for people
	Source        string          // where the provisioner has it from
	// Sum is that of the text the provisioner has; Editable lets people save it too.
	Sum      string `bun:"provision_sum"`
	Editable bool   `bun:"provision_editable"`

	CreatedAt int64
	UpdatedAt int64
	CreatedBy string
	UpdatedBy string
}

var notSlug = regexp.MustCompile(`[^\p{L}\p{N}]+`)

// Slug is the readable tail of an address; only the uid decides.
func Slug(title string) string {
	s := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(title), "-"), "-")
	if len(s) > 100 {
		s = strings.TrimRight(strings.ToValidUTF8(s[:100], ""), "-")
	}
	return s
}

// Slug is the readable tail of the board's address.
func (b *Board) Slug() string { return Slug(b.Title) }

// URL is the path under which the UI shows the board.
func (b *Board) URL() string { return "/d/" + b.UID + "/" + b.Slug() }

// Version is one saved state of a board.
type Version struct {
	bun.BaseModel `bun:"table:dash_board_versions"`

	WorkspaceID   string `bun:",pk"`
	BoardUID      string `bun:"board_uid,pk"`
	Version       int64  `bun:",pk"`
	ID            int64
	ParentVersion int64
	RestoredFrom  int64
	Message       string
	Data          json.RawMessage `bun:"type:text"`
	CreatedAt     int64
	CreatedBy     string
}

// SaveInput is a board to be saved.
type SaveInput struct {
	// Board is the JSON object. Its id, uid and version say what it replaces.
	Board     json.RawMessage
	FolderUID string
	// Overwrite saves over a version that the author has not seen.
	Overwrite    bool
	Message      string
	By           string // login
	RestoredFrom int64
	// ProvisionedBy and Source are set by provisioners, which may save what
	// people may not.
	ProvisionedBy, Source string
	// Sum identifies the text a provisioner saves: the same one is not saved
	// again. Editable lets people save the board too.
	Sum      string
	Editable bool
	// Creator gets the right to administer a new board; 0 for none.
	Creator int64
}

// head is what of a board's JSON is looked at.
type head struct {
	ID      json.Number     `json:"id"`
	UID     string          `json:"uid"`
	Title   string          `json:"title"`
	Version json.Number     `json:"version"`
	GnetID  json.Number     `json:"gnetId"`
	Tags    json.RawMessage `json:"tags"`
}

func readHead(data json.RawMessage) (head, []string, error) {
	var h head
	if len(data) > MaxBoardBytes {
		return h, nil, fmt.Errorf("%w: a board may have at most %d bytes", ErrBadBoard, MaxBoardBytes)
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return h, nil, fmt.Errorf("%w: %w", ErrBadBoard, err)
	}
	h.Title = strings.TrimSpace(h.Title)
	switch {
	case h.Title == "":
		return h, nil, ErrTitleEmpty
	case len([]rune(h.Title)) > 5000:
		return h, nil, ErrTitleTooLong
	}
	var tags []string
	if len(h.Tags) > 0 && json.Unmarshal(h.Tags, &tags) != nil {
		tags = nil // odd tags of old boards are kept in the JSON, and not searched
	}
	seen := map[string]bool{}
	out := []string{}
	for _, t := range tags {
		if t != "" && !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return h, out, checkUID(h.UID)
}

// ErrBadBoard says that a board is not a JSON object of a dashboard.
var ErrBadBoard = errors.New("not a dashboard")

func integer(n json.Number) int64 {
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return i
}

// SaveBoard stores a board as a new one or as the next version of one. A save
// that changes nothing makes no version.
func (s *Store) SaveBoard(ctx context.Context, ws string, in SaveInput) (*Board, error) {
	h, tags, err := readHead(in.Board)
	if err != nil {
		return nil, err
	}
	if len([]rune(in.Message)) > 500 {
		return nil, ErrMessageTooLong
	}
	var saved *Board
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		old, err := findReplaced(ctx, tx, ws, h)
		if err != nil {
			return err
		}
		if in.FolderUID != "" {
			if _, err := getFolder(ctx, tx, ws, in.FolderUID); err != nil {
				return err
			}
		}
		next := &Board{
			WorkspaceID: ws, UID: h.UID, FolderUID: in.FolderUID, Title: h.Title, Tags: tags, Version: 1, GnetID: integer(h.GnetID),
			ProvisionedBy: in.ProvisionedBy, Source: in.Source, Sum: in.Sum, Editable: in.Editable, UpdatedAt: s.millis(), UpdatedBy: in.By,
		}
		saved = next
		if old == nil {
			return s.insertBoard(ctx, tx, next, in)
		}
		if provisionerHasIt(old, in) {
			saved = old
			return nil
		}
		if old.ProvisionedBy != "" && in.ProvisionedBy != old.ProvisionedBy {
			if in.ProvisionedBy != "" || !old.Editable {
				return ErrProvisioned
			}
			next.ProvisionedBy, next.Source, next.Sum, next.Editable = old.ProvisionedBy, old.Source, old.Sum, true
		}
		if !in.Overwrite && integer(h.Version) != old.Version {
			return ErrVersionMismatch
		}
		if saved, err = s.updateBoard(ctx, tx, old, next, in); err != nil {
			return err
		}
		return nil
	})
	return saved, err
}

// provisionerHasIt reports whether a provisioner saved just this before, so that
// what people changed since stays.
func provisionerHasIt(old *Board, in SaveInput) bool {
	return in.Sum != "" && in.ProvisionedBy == old.ProvisionedBy && in.Sum == old.Sum && in.Source == old.Source &&
		in.Editable == old.Editable && in.FolderUID == old.FolderUID
}

// findReplaced returns the board that a save replaces, by number or by uid, or nil.
func findReplaced(ctx context.Context, tx bun.IDB, ws string, h head) (*Board, error) {
	byUID, err := findBoard(ctx, tx, ws, "uid = ?", h.UID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if h.UID == "" {
		byUID = nil
	}
	id := integer(h.ID)
	if id == 0 {
		return byUID, nil
	}
	byID, err := findBoard(ctx, tx, ws, "id = ?", id)
	if err != nil {
		// A number of another installation says nothing here when there is a uid.
		if errors.Is(err, ErrNotFound) && h.UID != "" {
			return byUID, nil
		}
		return nil, err
	}
	if byUID != nil && byUID.ID != byID.ID {
		return nil, ErrUIDTaken
	}
	return byID, nil
}

func findBoard(ctx context.Context, db bun.IDB, ws, where string, args ...any) (*Board, error) {
	var b Board
	if err := db.NewSelect().Model(&b).Where("workspace_id = ?", ws).Where(where, args...).Limit(1).Scan(ctx); err != nil {
		return nil, notFound(err)
	}
	return &b, nil
}

func (s *Store) insertBoard(ctx context.Context, tx bun.Tx, b *Board, in SaveInput) error {
	if b.UID == "" {
		b.UID = NewUID()
	}
	var err error
	if b.ID, err = number(ctx, tx, b.WorkspaceID, "dashboard"); err != nil {
		return err
	}
	b.CreatedAt, b.CreatedBy = b.UpdatedAt, in.By
	if b.Data, err = stamp(in.Board, b); err != nil {
		return err
	}
	if _, err := tx.NewInsert().Model(b).Exec(ctx); err != nil {
		return fmt.Errorf("insert board: %w", err)
	}
	if err := s.defaultPermissions(ctx, tx, b.WorkspaceID, kindBoard, b.UID, b.FolderUID == "", in.Creator); err != nil {
		return err
	}
	return s.insertVersion(ctx, tx, b, 0, in)
}

func (s *Store) updateBoard(ctx context.Context, tx bun.Tx, old, next *Board, in SaveInput) (*Board, error) {
	if next.UID == "" {
		next.UID = old.UID
	}
	next.ID, next.Version, next.CreatedAt, next.CreatedBy = old.ID, old.Version, old.CreatedAt, old.CreatedBy
	data, err := stamp(in.Board, next)
	if err != nil {
		return nil, err
	}
	same := bytes.Equal(data, old.Data) && next.FolderUID == old.FolderUID && next.UID == old.UID
	if same && in.Message == "" && next.ProvisionedBy == old.ProvisionedBy && next.Sum == old.Sum && next.Editable == old.Editable {
		return old, nil
	}
	next.Version++
	if next.Data, err = stamp(in.Board, next); err != nil {
		return nil, err
	}
	if next.UID != old.UID { // versions and stars follow by themselves
		_, err := tx.NewUpdate().Model((*Board)(nil)).Set("uid = ?", next.UID).Where("workspace_id = ? AND id = ?", old.WorkspaceID, old.ID).Exec(ctx)
		if err != nil {
			return nil, fmt.Errorf("give a board another uid: %w", err)
		}
	}
	if _, err := tx.NewUpdate().Model(next).Where("workspace_id = ? AND id = ?", old.WorkspaceID, old.ID).Exec(ctx); err != nil {
		return nil, fmt.Errorf("update board: %w", err)
	}
	if next.UID != old.UID {
		if err := renameBoard(ctx, tx, old.WorkspaceID, old.UID, next.UID); err != nil {
			return nil, err
		}
	}
	if next.FolderUID == "" && old.FolderUID != "" {
		if err := s.defaultPermissions(ctx, tx, old.WorkspaceID, kindBoard, next.UID, true, 0); err != nil {
			return nil, err
		}
	}
	return next, s.insertVersion(ctx, tx, next, old.Version, in)
}

// renameBoard moves what names a board by its uid; versions and stars follow by themselves.
func renameBoard(ctx context.Context, tx bun.Tx, ws, from, to string) error {
	_, err := tx.NewUpdate().Model((*permissionRow)(nil)).Set("uid = ?", to).
		Where("workspace_id = ? AND kind = ? AND uid = ?", ws, kindBoard, from).Exec(ctx)
	if err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model((*Annotation)(nil)).Set("board_uid = ?", to).Where("workspace_id = ? AND board_uid = ?", ws, from).Exec(ctx)
	return err
}

func (s *Store) insertVersion(ctx context.Context, tx bun.Tx, b *Board, parent int64, in SaveInput) error {
	id, err := number(ctx, tx, b.WorkspaceID, "version")
	if err != nil {
		return err
	}
	v := Version{
		WorkspaceID: b.WorkspaceID, BoardUID: b.UID, Version: b.Version, ID: id, ParentVersion: parent, RestoredFrom: in.RestoredFrom,
		Message: in.Message, Data: b.Data, CreatedAt: b.UpdatedAt, CreatedBy: in.By,
	}
	if _, err := tx.NewInsert().Model(&v).Exec(ctx); err != nil {
		return fmt.Errorf("insert version: %w", err)
	}
	return nil
}

// stamp writes a board's id, uid and version into its JSON and leaves the rest
// as it is, but for white space and the order of the outermost fields.
func stamp(data json.RawMessage, b *Board) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return nil, ErrBadBoard
	}
	for name, value := range map[string]any{"id": b.ID, "uid": b.UID, "version": b.Version, "title": b.Title} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		fields[name] = text
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(fields); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// Board returns the board with a uid.
func (s *Store) Board(ctx context.Context, ws, uid string) (*Board, error) {
	return findBoard(ctx, s.db, ws, "uid = ?", uid)
}

// BoardByID returns the board with a number.
func (s *Store) BoardByID(ctx context.Context, ws string, id int64) (*Board, error) {
	return findBoard(ctx, s.db, ws, "id = ?", id)
}

// Boards lists all boards, without their JSON, by title.
func (s *Store) Boards(ctx context.Context, ws string) ([]*Board, error) {
	var list []*Board
	err := s.db.NewSelect().Model(&list).ExcludeColumn("data").Where("workspace_id = ?", ws).Order("title", "id").Scan(ctx)
	return list, err
}

// BoardsHolding lists the boards whose JSON holds a text, with their JSON, by title.
func (s *Store) BoardsHolding(ctx context.Context, ws, text string) ([]*Board, error) {
	var list []*Board
	err := s.db.NewSelect().Model(&list).Where("workspace_id = ? AND data LIKE ?", ws, "%"+text+"%").Order("title", "id").Scan(ctx)
	return list, err
}

// DeleteBoard removes a board with its versions, permissions, stars and
// annotations. A provisioned board goes only with its provisioner's name.
func (s *Store) DeleteBoard(ctx context.Context, ws, uid, provisioner string) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		b, err := findBoard(ctx, tx, ws, "uid = ?", uid)
		if err != nil {
			return err
		}
		if b.ProvisionedBy != "" && b.ProvisionedBy != provisioner {
			return ErrDeleteProvision
		}
		return deleteBoard(ctx, tx, ws, uid)
	})
}

func deleteBoard(ctx context.Context, tx bun.Tx, ws, uid string) error {
	if _, err := tx.NewDelete().Model((*Board)(nil)).Where("workspace_id = ? AND uid = ?", ws, uid).Exec(ctx); err != nil {
		return fmt.Errorf("delete board: %w", err)
	}
	if _, err := tx.NewDelete().Model((*Annotation)(nil)).Where("workspace_id = ? AND board_uid = ?", ws, uid).Exec(ctx); err != nil {
		return fmt.Errorf("delete a board's annotations: %w", err)
	}
	return dropPermissions(ctx, tx, ws, kindBoard, uid)
}

// Versions lists a board's versions without their JSON, the newest first, from
// start on, at most limit.
func (s *Store) Versions(ctx context.Context, ws, uid string, start, limit int) ([]*Version, error) {
	var list []*Version
	err := s.db.NewSelect().Model(&list).ExcludeColumn("data").Where("workspace_id = ? AND board_uid = ?", ws, uid).
		Order("version DESC").Offset(start).Limit(limit).Scan(ctx)
	return list, err
}

// BoardVersion returns one version.
func (s *Store) BoardVersion(ctx context.Context, ws, uid string, version int64) (*Version, error) {
	var v Version
	err := s.db.NewSelect().Model(&v).Where("workspace_id = ? AND board_uid = ? AND version = ?", ws, uid, version).Scan(ctx)
	return &v, notFound(err)
}
