package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
)

// Group is a set of users.
type Group struct {
	ID, StoreID              string
	DisplayName, Description string
	ExternalIDs              []ExternalID
	Created, Updated         time.Time
	CreatedBy, UpdatedBy     string
}

// Membership says that a user is in a group.
type Membership struct {
	ID, StoreID     string
	GroupID, UserID string
	Created         time.Time
	CreatedBy       string
}

type groupRow struct {
	bun.BaseModel `bun:"table:directory_groups,alias:g"`
	ID            string `bun:"id,pk"`
	StoreID       string
	DisplayName   string
	NameKey       string
	Description   string
	CreatedAt     int64
	CreatedBy     string
	UpdatedAt     int64
	UpdatedBy     string
}

func (r *groupRow) group() Group {
	return Group{ID: r.ID, StoreID: r.StoreID, DisplayName: r.DisplayName, Description: r.Description,
		Created: at(r.CreatedAt), Updated: at(r.UpdatedAt), CreatedBy: r.CreatedBy, UpdatedBy: r.UpdatedBy}
}

type membershipRow struct {
	bun.BaseModel `bun:"table:directory_memberships,alias:m"`
	ID            string `bun:"id,pk"`
	StoreID       string
	GroupID       string
	UserID        string
	CreatedAt     int64
	CreatedBy     string
}

func (r *membershipRow) membership() Membership {
	return Membership{ID: r.ID, StoreID: r.StoreID, GroupID: r.GroupID, UserID: r.UserID, Created: at(r.CreatedAt), CreatedBy: r.CreatedBy}
}

func (r *groupRow) set(name, description string) error {
	if name == "" {
		return &InvalidError{"DisplayName", "is required"}
	}
	if err := checkText("DisplayName", name, true); err != nil {
		return err
	}
	if err := checkText("Description", description, false); err != nil {
		return err
	}
	r.DisplayName, r.NameKey, r.Description = name, key(name), description
	return nil
}

// CreateGroup makes a group of in's names.
func (d *Directory) CreateGroup(ctx context.Context, by string, in Group) (Group, error) {
	now := d.now()
	row := &groupRow{ID: uuid.NewString(), StoreID: in.StoreID, CreatedAt: now, CreatedBy: by, UpdatedAt: now, UpdatedBy: by}
	if err := row.set(in.DisplayName, in.Description); err != nil {
		return Group{}, err
	}
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := checkRoom(ctx, tx, (*groupRow)(nil), in.StoreID, d.cfg.MaxGroups, "groups"); err != nil {
			return err
		}
		if err := d.checkGroupName(ctx, tx, row); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return err
		}
		return d.setExternalIDs(ctx, tx, in.StoreID, KindGroup, row.ID, in.ExternalIDs)
	})
	if err != nil {
		return Group{}, fmt.Errorf("create group: %w", err)
	}
	return d.Group(ctx, in.StoreID, row.ID)
}

func (d *Directory) checkGroupName(ctx context.Context, tx bun.IDB, row *groupRow) error {
	n, err := tx.NewSelect().Model((*groupRow)(nil)).Where("store_id = ? AND name_key = ? AND id <> ?", row.StoreID, row.NameKey, row.ID).Count(ctx)
	if err == nil && n > 0 {
		return &ConflictError{"DisplayName", "Another group has this name already."}
	}
	return err
}

// Group returns a group by id.
func (d *Directory) Group(ctx context.Context, store, id string) (Group, error) {
	return d.oneGroup(ctx, id, "store_id = ? AND id = ?", store, id)
}

// GroupByName returns a group by its display name.
func (d *Directory) GroupByName(ctx context.Context, store, name string) (Group, error) {
	return d.oneGroup(ctx, name, "store_id = ? AND name_key = ?", store, key(name))
}

// GroupByExternalID returns a group by what a provider outside calls it.
func (d *Directory) GroupByExternalID(ctx context.Context, store string, id ExternalID) (Group, error) {
	return d.oneGroup(ctx, id.ID, "id IN (SELECT owner_id FROM directory_external_ids WHERE store_id = ? AND kind = ? AND issuer = ? AND value = ?)",
		store, KindGroup, id.Issuer, id.ID)
}

func (d *Directory) oneGroup(ctx context.Context, name, where string, args ...any) (Group, error) {
	row := new(groupRow)
	err := d.db.NewSelect().Model(row).Where(where, args...).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Group{}, &NotFoundError{KindGroup, name}
	}
	if err != nil {
		return Group{}, fmt.Errorf("read a group: %w", err)
	}
	g := row.group()
	ids, err := d.externalIDs(ctx, g.ID)
	g.ExternalIDs = ids[g.ID]
	return g, err
}

// GroupFilter selects groups; empty members select all.
type GroupFilter struct {
	DisplayName string
	ExternalID  *ExternalID
}

// Groups lists groups by name. next is empty on the last page.
func (d *Directory) Groups(ctx context.Context, store string, f GroupFilter, p Page) (groups []Group, next string, err error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	var rows []groupRow
	q := d.db.NewSelect().Model(&rows).Where("store_id = ?", store).Order("name_key").Limit(limit + 1)
	if f.DisplayName != "" {
		q.Where("name_key = ?", key(f.DisplayName))
	}
	if f.ExternalID != nil {
		q.Where("id IN (SELECT owner_id FROM directory_external_ids WHERE store_id = ? AND kind = ? AND issuer = ? AND value = ?)",
			store, KindGroup, f.ExternalID.Issuer, f.ExternalID.ID)
	}
	if err := after(q, p.After); err != nil {
		return nil, "", err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, "", fmt.Errorf("list groups: %w", err)
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
		g := rows[i].group()
		g.ExternalIDs = ids[g.ID]
		groups = append(groups, g)
	}
	return groups, next, nil
}

// GroupUpdate changes a group; nil members stay as they are.
type GroupUpdate struct {
	DisplayName, Description *string
	ExternalIDs              *[]ExternalID
}

// UpdateGroup changes a group.
func (d *Directory) UpdateGroup(ctx context.Context, by, store, id string, up GroupUpdate) (Group, error) {
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := new(groupRow)
		err := tx.NewSelect().Model(row).Where("store_id = ? AND id = ?", store, id).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			return &NotFoundError{KindGroup, id}
		}
		if err != nil {
			return err
		}
		name, description := row.DisplayName, row.Description
		if up.DisplayName != nil {
			name = *up.DisplayName
		}
		if up.Description != nil {
			description = *up.Description
		}
		if err := row.set(name, description); err != nil {
			return err
		}
		if err := d.checkGroupName(ctx, tx, row); err != nil {
			return err
		}
		row.UpdatedAt, row.UpdatedBy = d.now(), by
		if _, err := tx.NewUpdate().Model(row).WherePK().Exec(ctx); err != nil {
			return err
		}
		if up.ExternalIDs == nil {
			return nil
		}
		return d.setExternalIDs(ctx, tx, store, KindGroup, id, *up.ExternalIDs)
	})
	if err != nil {
		return Group{}, fmt.Errorf("update group: %w", err)
	}
	return d.Group(ctx, store, id)
}

// DeleteGroup deletes a group and its memberships; its users stay.
func (d *Directory) DeleteGroup(ctx context.Context, store, id string) error {
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewDelete().Model((*groupRow)(nil)).Where("store_id = ? AND id = ?", store, id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, &NotFoundError{KindGroup, id})
		}
		return d.setExternalIDs(ctx, tx, store, KindGroup, id, nil)
	})
	if err != nil {
		return fmt.Errorf("delete group: %w", err)
	}
	return nil
}

// AddMember puts a user into a group.
func (d *Directory) AddMember(ctx context.Context, by, store, group, user string) (Membership, error) {
	row := &membershipRow{ID: uuid.NewString(), StoreID: store, GroupID: group, UserID: user, CreatedAt: d.now(), CreatedBy: by}
	err := d.inTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, side := range []struct {
			model any
			kind  string
			id    string
		}{{(*groupRow)(nil), KindGroup, group}, {(*userRow)(nil), KindUser, user}} {
			n, err := tx.NewSelect().Model(side.model).Where("store_id = ? AND id = ?", store, side.id).Count(ctx)
			if err != nil {
				return err
			}
			if n == 0 {
				return &NotFoundError{side.kind, side.id}
			}
		}
		res, err := tx.NewInsert().Model(row).On("CONFLICT (group_id, user_id) DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, &ConflictError{"MemberId", "The user is in this group already."})
		}
		return nil
	})
	if err != nil {
		return Membership{}, fmt.Errorf("add a member: %w", err)
	}
	return row.membership(), nil
}

// Membership returns a membership by id.
func (d *Directory) Membership(ctx context.Context, store, id string) (Membership, error) {
	return d.oneMembership(ctx, id, "store_id = ? AND id = ?", store, id)
}

// MembershipOf returns the membership of a user in a group.
func (d *Directory) MembershipOf(ctx context.Context, store, group, user string) (Membership, error) {
	return d.oneMembership(ctx, user, "store_id = ? AND group_id = ? AND user_id = ?", store, group, user)
}

func (d *Directory) oneMembership(ctx context.Context, name, where string, args ...any) (Membership, error) {
	row := new(membershipRow)
	err := d.db.NewSelect().Model(row).Where(where, args...).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Membership{}, &NotFoundError{KindMembership, name}
	}
	if err != nil {
		return Membership{}, fmt.Errorf("read a membership: %w", err)
	}
	return row.membership(), nil
}

// RemoveMember takes a user out of a group, by the membership's id.
func (d *Directory) RemoveMember(ctx context.Context, store, id string) error {
	res, err := d.db.NewDelete().Model((*membershipRow)(nil)).Where("store_id = ? AND id = ?", store, id).Exec(ctx)
	if err != nil {
		return fmt.Errorf("remove a member: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, &NotFoundError{KindMembership, id})
	}
	return nil
}

// Members lists the memberships of a group, or, where group is empty, those of a
// user. next is empty on the last page.
func (d *Directory) Members(ctx context.Context, store, group, user string, p Page) (list []Membership, next string, err error) {
	limit, err := p.limit()
	if err != nil {
		return nil, "", err
	}
	var rows []membershipRow
	q := d.db.NewSelect().Model(&rows).Where("m.store_id = ?", store).Order("m.id").Limit(limit + 1)
	if group != "" {
		q.Where("m.group_id = ?", group)
	}
	if user != "" {
		q.Where("m.user_id = ?", user)
	}
	if p.After != "" {
		last, err := decodePage(p.After)
		if err != nil {
			return nil, "", err
		}
		q.Where("m.id > ?", last)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, "", fmt.Errorf("list memberships: %w", err)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = nextPage(rows[limit-1].ID)
	}
	for i := range rows {
		list = append(list, rows[i].membership())
	}
	return list, next, nil
}

// GroupsOf returns the ids of all groups that a user is in.
func (d *Directory) GroupsOf(ctx context.Context, user string) ([]string, error) {
	var ids []string
	err := d.db.NewSelect().Model((*membershipRow)(nil)).Column("group_id").Where("user_id = ?", user).Order("group_id").Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("read the groups of a user: %w", err)
	}
	return ids, nil
}
