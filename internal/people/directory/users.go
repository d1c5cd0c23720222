package directory

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

// ExternalID is what a provider outside calls a user or group.
type ExternalID struct {
	Issuer string
	ID     string `json:"Id"`
}

// User is a person of an identity store.
type User struct {
	ID, StoreID string
	UserName    string
	Profile     Profile
	ExternalIDs []ExternalID
	Disabled    bool
	// Administrator may manage the installation: people, workspaces, settings.
	// No provider outside can make one.
	Administrator bool
	// EmailVerified is when the user showed to have the address; zero for not.
	EmailVerified        time.Time
	Created, Updated     time.Time
	CreatedBy, UpdatedBy string
}

// Email returns the user's address, empty for none.
func (u *User) Email() string { return u.Profile.Email() }

// Shown is what the user is called on pages and in mails.
func (u *User) Shown() string {
	if u.Profile.DisplayName != "" {
		return u.Profile.DisplayName
	}
	return u.UserName
}

type userRow struct {
	bun.BaseModel   `bun:"table:directory_users,alias:u"`
	ID              string `bun:"id,pk"`
	StoreID         string
	UserName        string
	NameKey         string
	EmailKey        string
	DisplayKey      string
	Profile         string
	Disabled        bool
	Administrator   bool
	EmailVerifiedAt int64
	CreatedAt       int64
	CreatedBy       string
	UpdatedAt       int64
	UpdatedBy       string
}

type externalRow struct {
	bun.BaseModel `bun:"table:directory_external_ids"`
	StoreID       string `bun:",pk"`
	Kind          string `bun:",pk"`
	Issuer        string `bun:",pk"`
	Value         string `bun:",pk"`
	OwnerID       string
}

func (r *userRow) user() (User, error) {
	u := User{ID: r.ID, StoreID: r.StoreID, UserName: r.UserName, Disabled: r.Disabled, Administrator: r.Administrator,
		Created: at(r.CreatedAt), Updated: at(r.UpdatedAt), CreatedBy: r.CreatedBy, UpdatedBy: r.UpdatedBy, EmailVerified: at(r.EmailVerifiedAt)}
	if err := json.Unmarshal([]byte(r.Profile), &u.Profile); err != nil {
		return u, fmt.Errorf("record of user %s: %w", r.ID, err)
	}
	return u, nil
}

// at reads a time of the database, where 0 stands for none.
func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func (r *userRow) setProfile(p *Profile) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	r.Profile, r.EmailKey, r.DisplayKey = string(text), key(p.Email()), key(p.DisplayName)
	return nil
}

// reservedNames are those that the Identity Store does not give away.
var reservedNames = []string{"administrator", "awsadministrators"}

func checkUserName(name string) error {
	if !isWord(name, maxUserName) {
		return &InvalidError{"UserName", "allowed are 1 to 128 letters, digits, symbols and marks, without spaces"}
	}
	if slices.Contains(reservedNames, key(name)) {
		return &InvalidError{"UserName", "'" + name + "' is reserved"}
	}
	return nil
}

// CreateUser makes a user. ID, Created and so on of in are not looked at. by
// names who asks.
func (d *Directory) CreateUser(ctx context.Context, by string, in User) (User, error) {
	if err := checkUserName(in.UserName); err != nil {
		return User{}, err
	}
	if err := in.Profile.check(); err != nil {
		return User{}, err
	}
	now := d.now()
	row := &userRow{ID: uuid.NewString(), StoreID: in.StoreID, UserName: in.UserName, NameKey: key(in.UserName),
		Disabled: in.Disabled, Administrator: in.Administrator, CreatedAt: now, CreatedBy: by, UpdatedAt: now, UpdatedBy: by}
	if !in.EmailVerified.IsZero() {
		row.EmailVerifiedAt = in.EmailVerified.UnixMilli()
	}
	if err := row.setProfile(&in.Profile); err != nil {
		return User{}, err
	}
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := checkRoom(ctx, tx, (*userRow)(nil), in.StoreID, d.cfg.MaxUsers, "users"); err != nil {
			return err
		}
		if err := d.checkUnique(ctx, tx, row); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return err
		}
		return d.setExternalIDs(ctx, tx, in.StoreID, KindUser, row.ID, in.ExternalIDs)
	})
	if err != nil {
		return User{}, fmt.Errorf("create user: %w", err)
	}
	return d.User(ctx, in.StoreID, row.ID)
}

// checkRoom demands that a store has fewer than most of what model is.
func checkRoom(ctx context.Context, tx bun.IDB, model any, storeID string, most int, what string) error {
	n, err := tx.NewSelect().Model(model).Where("store_id = ?", storeID).Count(ctx)
	if err == nil && n >= most {
		return &LimitError{fmt.Sprintf("%d %s are the most that an identity store may have.", most, what)}
	}
	return err
}

// checkUnique demands that no other user has the name or address of row. The
// database's own constraints stand behind it.
func (d *Directory) checkUnique(ctx context.Context, tx bun.IDB, row *userRow) error {
	for _, u := range []struct{ column, value, field, what string }{
		{"name_key", row.NameKey, "UserName", "user name"}, {"email_key", row.EmailKey, "Emails.Value", "e-mail address"},
	} {
		if u.value == "" {
			continue
		}
		n, err := tx.NewSelect().Model((*userRow)(nil)).Where("store_id = ? AND ? = ? AND id <> ?", row.StoreID, bun.Ident(u.column), u.value, row.ID).Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return &ConflictError{u.field, "Another user has this " + u.what + " already."}
		}
	}
	return nil
}

func (d *Directory) setExternalIDs(ctx context.Context, tx bun.IDB, store, kind, owner string, ids []ExternalID) error {
	if _, err := tx.NewDelete().Model((*externalRow)(nil)).Where("owner_id = ?", owner).Exec(ctx); err != nil {
		return err
	}
	const most = 10
	if len(ids) > most {
		return &InvalidError{"ExternalIds", fmt.Sprintf("has %d entries, allowed are %d", len(ids), most)}
	}
	for _, id := range ids {
		if !isWord(id.Issuer, maxExternalID) || !isWord(id.ID, maxExternalID) {
			return &InvalidError{"ExternalIds", "Issuer and Id have 1 to 256 letters, digits, symbols and marks"}
		}
		row := &externalRow{StoreID: store, Kind: kind, Issuer: id.Issuer, Value: id.ID, OwnerID: owner}
		res, err := tx.NewInsert().Model(row).On("CONFLICT DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, &ConflictError{"ExternalIds", "Another record has this external id already."})
		}
	}
	return nil
}

func (d *Directory) externalIDs(ctx context.Context, owners ...string) (map[string][]ExternalID, error) {
	out := make(map[string][]ExternalID)
	if len(owners) == 0 {
		return out, nil
	}
	var rows []externalRow
	err := d.db.NewSelect().Model(&rows).Where("owner_id IN (?)", bun.In(owners)).Order("issuer", "value").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read external ids: %w", err)
	}
	for _, r := range rows {
		out[r.OwnerID] = append(out[r.OwnerID], ExternalID{Issuer: r.Issuer, ID: r.Value})
	}
	return out, nil
}

// User returns a user by id.
func (d *Directory) User(ctx context.Context, store, id string) (User, error) {
	return d.oneUser(ctx, id, "store_id = ? AND id = ?", store, id)
}

// UserByName returns a user by user name.
func (d *Directory) UserByName(ctx context.Context, store, name string) (User, error) {
	return d.oneUser(ctx, name, "store_id = ? AND name_key = ?", store, key(name))
}

// UserByEmail returns a user by e-mail address.
func (d *Directory) UserByEmail(ctx context.Context, store, addr string) (User, error) {
	if addr == "" {
		return User{}, &NotFoundError{KindUser, addr}
	}
	return d.oneUser(ctx, addr, "store_id = ? AND email_key = ?", store, key(addr))
}

// UserByExternalID returns a user by what a provider outside calls them.
func (d *Directory) UserByExternalID(ctx context.Context, store string, id ExternalID) (User, error) {
	return d.oneUser(ctx, id.ID, "id IN (SELECT owner_id FROM directory_external_ids WHERE store_id = ? AND kind = ? AND issuer = ? AND value = ?)",
		store, KindUser, id.Issuer, id.ID)
}

func (d *Directory) oneUser(ctx context.Context, name, where string, args ...any) (User, error) {
	row := new(userRow)
	err := d.db.NewSelect().Model(row).Where(where, args...).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, &NotFoundError{KindUser, name}
	}
	if err != nil {
		return User{}, fmt.Errorf("read a user: %w", err)
	}
	u, err := row.user()
	if err != nil {
		return User{}, err
	}
	ids, err := d.externalIDs(ctx, u.ID)
	u.ExternalIDs = ids[u.ID]
	return u, err
}

// UserFilter selects users; empty members select all.
type UserFilter struct {
	UserName, DisplayName, Email string
	ExternalID                   *ExternalID
	// Search finds users whose name, shown name or address contains it.
	Search string
}

// likeEscapes make what is searched for stand for itself in a pattern.
var likeEscapes = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// Users lists users by name. next is empty on the last page.
func (d *Directory) Users(ctx context.Context, store string, f UserFilter, p Page) (users []User, next string, err error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	var rows []userRow
	q := d.db.NewSelect().Model(&rows).Where("store_id = ?", store).Order("name_key").Limit(limit + 1)
	for column, v := range map[string]string{"name_key": f.UserName, "display_key": f.DisplayName, "email_key": f.Email} {
		if v != "" {
			q.Where("? = ?", bun.Ident(column), key(v))
		}
	}
	if f.ExternalID != nil {
		q.Where("id IN (SELECT owner_id FROM directory_external_ids WHERE store_id = ? AND kind = ? AND issuer = ? AND value = ?)",
			store, KindUser, f.ExternalID.Issuer, f.ExternalID.ID)
	}
	if f.Search != "" {
		// LIKE is what SQLite and PostgreSQL have in common; keys are folded already.
		s := "%" + likeEscapes.Replace(key(f.Search)) + "%"
		q.Where(`(name_key LIKE ? ESCAPE '!' OR display_key LIKE ? ESCAPE '!' OR email_key LIKE ? ESCAPE '!')`, s, s, s)
	}
	if err := after(q, p.After); err != nil {
		return nil, "", err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, "", fmt.Errorf("list users: %w", err)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = nextPage(rows[limit-1].NameKey)
	}
	owners := make([]string, len(rows))
	for i := range rows {
		owners[i] = rows[i].ID
	}
	ids, err := d.externalIDs(ctx, owners...)
	if err != nil {
		return nil, "", err
	}
	for i := range rows {
		u, err := rows[i].user()
		if err != nil {
			return nil, "", err
		}
		u.ExternalIDs = ids[u.ID]
		users = append(users, u)
	}
	return users, next, nil
}

func nextPage(last string) string { return base64.URLEncoding.EncodeToString([]byte(last)) }

func after(q *bun.SelectQuery, token string) error {
	if token == "" {
		return nil
	}
	last, err := decodePage(token)
	if err == nil {
		q.Where("name_key > ?", last)
	}
	return err
}

func decodePage(token string) (last string, err error) {
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil {
		return "", &InvalidError{"NextToken", "is not one that an answer gave"}
	}
	return string(b), nil
}

// UserUpdate changes a user; nil members stay as they are.
type UserUpdate struct {
	UserName    *string
	Disabled    *bool
	ExternalIDs *[]ExternalID
	// Administrator may be set by an administrator alone; the caller sees to it.
	Administrator *bool
	// EmailVerified says that the present address was shown to be the user's.
	EmailVerified bool
	// Profile is given the present one to change.
	Profile func(*Profile) error
}

// UpdateUser changes a user. A new address is one that has not been verified.
func (d *Directory) UpdateUser(ctx context.Context, by, store, id string, up UserUpdate) (User, error) {
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := new(userRow)
		err := tx.NewSelect().Model(row).Where("store_id = ? AND id = ?", store, id).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			return &NotFoundError{KindUser, id}
		}
		if err != nil {
			return err
		}
		if err := d.change(row, up); err != nil {
			return err
		}
		row.UpdatedAt, row.UpdatedBy = d.now(), by
		if err := d.checkUnique(ctx, tx, row); err != nil {
			return err
		}
		if err := keepAnAdministrator(ctx, tx, row); err != nil {
			return err
		}
		if _, err := tx.NewUpdate().Model(row).WherePK().Exec(ctx); err != nil {
			return err
		}
		if up.ExternalIDs == nil {
			return nil
		}
		return d.setExternalIDs(ctx, tx, store, KindUser, id, *up.ExternalIDs)
	})
	if err != nil {
		return User{}, fmt.Errorf("update user: %w", err)
	}
	return d.User(ctx, store, id)
}

func (d *Directory) change(row *userRow, up UserUpdate) error {
	u, err := row.user()
	if err != nil {
		return err
	}
	if up.Profile != nil {
		if err := up.Profile(&u.Profile); err != nil {
			return err
		}
		if err := u.Profile.check(); err != nil {
			return err
		}
		before := row.EmailKey
		if err := row.setProfile(&u.Profile); err != nil {
			return err
		}
		if row.EmailKey != before {
			row.EmailVerifiedAt = 0
		}
	}
	if up.UserName != nil {
		if err := checkUserName(*up.UserName); err != nil {
			return err
		}
		row.UserName, row.NameKey = *up.UserName, key(*up.UserName)
	}
	if up.Disabled != nil {
		row.Disabled = *up.Disabled
	}
	if up.Administrator != nil {
		row.Administrator = *up.Administrator
	}
	if up.EmailVerified && row.EmailKey != "" {
		row.EmailVerifiedAt = d.now()
	}
	return nil
}

// keepAnAdministrator refuses a change, to row, after which nobody could manage
// the installation any more.
func keepAnAdministrator(ctx context.Context, tx bun.IDB, row *userRow) error {
	if row.Administrator && !row.Disabled {
		return nil
	}
	var was bool
	err := tx.NewSelect().Model((*userRow)(nil)).ColumnExpr("administrator AND NOT disabled").Where("id = ?", row.ID).Scan(ctx, &was)
	if err != nil || !was {
		return err
	}
	n, err := tx.NewSelect().Model((*userRow)(nil)).
		Where("store_id = ? AND administrator AND NOT disabled AND id <> ?", row.StoreID, row.ID).Count(ctx)
	if err != nil {
		return err
	}
	if n == 0 {
		return &InvalidError{"User", "is the last administrator: make another one first"}
	}
	return nil
}

// DeleteUser deletes a user with all that is kept about them.
func (d *Directory) DeleteUser(ctx context.Context, store, id string) error {
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := &userRow{ID: id, StoreID: store}
		if err := keepAnAdministrator(ctx, tx, row); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		res, err := tx.NewDelete().Model(row).Where("store_id = ? AND id = ?", store, id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, &NotFoundError{KindUser, id})
		}
		return d.setExternalIDs(ctx, tx, store, KindUser, id, nil)
	})
	if err != nil {
		return fmt.Errorf("delete user: %w", err)
	}
	return nil
}

// Administrators lists who may manage the installation, oldest first.
func (d *Directory) Administrators(ctx context.Context, store string) ([]User, error) {
	var rows []userRow
	err := d.db.NewSelect().Model(&rows).Where("store_id = ? AND administrator", store).Order("created_at", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list administrators: %w", err)
	}
	var out []User
	for i := range rows {
		u, err := rows[i].user()
		if err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, nil
}
