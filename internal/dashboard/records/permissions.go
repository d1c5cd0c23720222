package records

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/dashboard/caller"
)

// Level is what a permission allows: each includes the lower ones.
type Level int64

// The levels, with Grafana's numbers.
const (
	None  Level = 0
	View  Level = 1
	Edit  Level = 2
	Admin Level = 4
)

// Name is Grafana's word for the level.
func (l Level) Name() string {
	switch l {
	case View:
		return "View"
	case Edit:
		return "Edit"
	case Admin:
		return "Admin"
	default:
		return ""
	}
}

// LevelNamed is the level that Grafana calls so; ok is false for no such word.
func LevelNamed(name string) (l Level, ok bool) {
	for _, l := range []Level{None, View, Edit, Admin} {
		if l.Name() == name {
			return l, true
		}
	}
	return None, false
}

// Kinds of things that have permissions.
const (
	kindFolder = "folder"
	kindBoard  = "dashboard"
)

// Kinds of subjects.
const (
	SubjectRole = "role"
	SubjectUser = "user"
	SubjectTeam = "team"
)

// Permission lets a role, a user or a team do something with one folder or board.
type Permission struct {
	SubjectKind string // role, user or team
	// Subject is the name of the role, or the number of the user or team.
	Subject string
	Level   Level
	// Inherited is the folder that the permission comes from; empty for one's own.
	Inherited string
	CreatedAt int64
}

type permissionRow struct {
	bun.BaseModel `bun:"table:dash_permissions"`

	WorkspaceID string `bun:",pk"`
	Kind        string `bun:",pk"`
	UID         string `bun:"uid,pk"`
	SubjectKind string `bun:",pk"`
	Subject     string `bun:",pk"`
	Level       Level
	CreatedAt   int64
}

// defaultPermissions gives something new at the top to everybody as their role
// says, and its maker the right to administer it. Inside a folder, roles inherit.
func (s *Store) defaultPermissions(ctx context.Context, tx bun.IDB, ws, kind, uid string, top bool, creator int64) error {
	now := s.millis()
	var rows []permissionRow
	add := func(subjectKind, subject string, l Level) {
		rows = append(rows, permissionRow{WorkspaceID: ws, Kind: kind, UID: uid, SubjectKind: subjectKind, Subject: subject, Level: l, CreatedAt: now})
	}
	if top {
		add(SubjectRole, string(caller.RoleEditor), Edit)
		add(SubjectRole, string(caller.RoleViewer), View)
	}
	if creator != 0 {
		add(SubjectUser, strconv.FormatInt(creator, 10), Admin)
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.NewInsert().Model(&rows).On("CONFLICT (workspace_id, kind, uid, subject_kind, subject) DO NOTHING").Exec(ctx)
	if err != nil {
		return fmt.Errorf("insert default permissions: %w", err)
	}
	return nil
}

func dropPermissions(ctx context.Context, tx bun.IDB, ws, kind, uid string) error {
	_, err := tx.NewDelete().Model((*permissionRow)(nil)).Where("workspace_id = ? AND kind = ? AND uid = ?", ws, kind, uid).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete permissions: %w", err)
	}
	return nil
}

// SetFolderPermissions replaces a folder's own permissions.
func (s *Store) SetFolderPermissions(ctx context.Context, ws, uid string, list []Permission) error {
	return s.setPermissions(ctx, ws, kindFolder, uid, list)
}

// SetBoardPermissions replaces a board's own permissions.
func (s *Store) SetBoardPermissions(ctx context.Context, ws, uid string, list []Permission) error {
	return s.setPermissions(ctx, ws, kindBoard, uid, list)
}

func (s *Store) setPermissions(ctx context.Context, ws, kind, uid string, list []Permission) error {
	now := s.millis()
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := dropPermissions(ctx, tx, ws, kind, uid); err != nil {
			return err
		}
		best := map[string]int{}
		var rows []permissionRow
		for _, p := range list {
			if p.Level == None {
				continue
			}
			key := p.SubjectKind + " " + p.Subject
			if i, ok := best[key]; ok {
				rows[i].Level = max(rows[i].Level, p.Level)
				continue
			}
			best[key] = len(rows)
			rows = append(rows, permissionRow{WorkspaceID: ws, Kind: kind, UID: uid, SubjectKind: p.SubjectKind, Subject: p.Subject, Level: p.Level, CreatedAt: now})
		}
		if len(rows) == 0 {
			return nil
		}
		_, err := tx.NewInsert().Model(&rows).Exec(ctx)
		return err
	})
}

// Access answers what callers may do in a workspace. It is a picture of one
// moment: make one for every request.
type Access struct {
	folders map[string]*Folder
	rows    map[string][]permissionRow // by kind and uid
}

// Access reads the folders and permissions of a workspace.
func (s *Store) Access(ctx context.Context, ws string) (*Access, error) {
	folders, err := s.Folders(ctx, ws)
	if err != nil {
		return nil, fmt.Errorf("read folders: %w", err)
	}
	var rows []permissionRow
	if err := s.db.NewSelect().Model(&rows).Where("workspace_id = ?", ws).Order("kind", "uid", "subject_kind", "subject").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read permissions: %w", err)
	}
	a := &Access{folders: make(map[string]*Folder, len(folders)), rows: make(map[string][]permissionRow)}
	for _, f := range folders {
		a.folders[f.UID] = f
	}
	for _, r := range rows {
		a.rows[r.Kind+" "+r.UID] = append(a.rows[r.Kind+" "+r.UID], r)
	}
	return a, nil
}

// Folder returns a folder, or nil.
func (a *Access) Folder(uid string) *Folder { return a.folders[uid] }

// Parents lists the folders above a folder, the outermost first.
func (a *Access) Parents(uid string) []*Folder {
	var list []*Folder
	f := a.folders[uid]
	for f != nil && f.ParentUID != "" && len(list) <= MaxFolderDepth {
		f = a.folders[f.ParentUID]
		if f != nil {
			list = append(list, f)
		}
	}
	slices.Reverse(list)
	return list
}

// FolderLevel is the most that a caller may do with a folder and what is in it.
// For the top (an empty uid), it is what the caller's role alone says.
func (a *Access) FolderLevel(c caller.Caller, uid string) Level {
	if c.Role == caller.RoleAdmin {
		return Admin
	}
	if uid == "" || uid == GeneralFolder {
		return roleLevel(c.Role)
	}
	best := None
	for depth := 0; uid != "" && depth <= MaxFolderDepth; depth++ {
		f := a.folders[uid]
		if f == nil {
			return None
		}
		best = max(best, highest(c, a.rows[kindFolder+" "+uid]))
		uid = f.ParentUID
	}
	return best
}

// BoardLevel is the most that a caller may do with a board.
func (a *Access) BoardLevel(c caller.Caller, b *Board) Level {
	if c.Role == caller.RoleAdmin {
		return Admin
	}
	best := highest(c, a.rows[kindBoard+" "+b.UID])
	if b.FolderUID != "" {
		best = max(best, a.FolderLevel(c, b.FolderUID))
	}
	return best
}

func roleLevel(r caller.Role) Level {
	switch r {
	case caller.RoleAdmin:
		return Admin
	case caller.RoleEditor:
		return Edit
	case caller.RoleViewer:
		return View
	default:
		return None
	}
}

// highest is the best of the permissions that reach the caller.
func highest(c caller.Caller, rows []permissionRow) Level {
	best := None
	for _, r := range rows {
		if r.Level > best && reaches(c, r) {
			best = r.Level
		}
	}
	return best
}

func reaches(c caller.Caller, r permissionRow) bool {
	switch r.SubjectKind {
	case SubjectRole:
		// What a viewer may, an editor may too.
		return c.Role.Includes(caller.Role(r.Subject)) && c.Role != caller.RoleNone
	case SubjectUser:
		return c.UserID != 0 && r.Subject == strconv.FormatInt(c.UserID, 10)
	case SubjectTeam:
		return slices.ContainsFunc(c.Teams, func(t int64) bool { return r.Subject == strconv.FormatInt(t, 10) })
	default:
		return false
	}
}

// FolderPermissions lists a folder's permissions, inherited ones first.
func (a *Access) FolderPermissions(uid string) []Permission {
	list := a.inherited(a.Parents(uid))
	return append(list, a.own(kindFolder, uid, "")...)
}

// BoardPermissions lists a board's permissions, inherited ones first.
func (a *Access) BoardPermissions(b *Board) []Permission {
	var list []Permission
	if f := a.folders[b.FolderUID]; f != nil {
		list = a.inherited(append(a.Parents(f.UID), f))
	}
	return append(list, a.own(kindBoard, b.UID, "")...)
}

func (a *Access) inherited(from []*Folder) []Permission {
	var list []Permission
	for _, f := range from {
		list = append(list, a.own(kindFolder, f.UID, f.UID)...)
	}
	return list
}

func (a *Access) own(kind, uid, from string) []Permission {
	var list []Permission
	for _, r := range a.rows[kind+" "+uid] {
		list = append(list, Permission{SubjectKind: r.SubjectKind, Subject: r.Subject, Level: r.Level, Inherited: from, CreatedAt: r.CreatedAt})
	}
	return list
}
