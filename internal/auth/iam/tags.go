package iam

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/uptrace/bun"
)

// Tag adds tags to a record, or changes their values. Groups have none.
func (s *Service) Tag(ctx context.Context, ref Ref, tags map[string]string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		e, err := entityOf(ctx, tx, ref)
		if err != nil {
			return err
		}
		return putTags(ctx, tx, e.ID, tags)
	})
}

// Untag removes tags from a record; those that are not there are no error.
func (s *Service) Untag(ctx context.Context, ref Ref, names []string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		e, err := entityOf(ctx, tx, ref)
		if err != nil || len(names) == 0 {
			return err
		}
		lower := make([]string, len(names))
		for i, n := range names {
			lower[i] = strings.ToLower(n)
		}
		have, err := tagsOf(ctx, tx, e.ID)
		if err != nil {
			return err
		}
		var gone []string
		for name := range have {
			for _, n := range lower {
				if strings.ToLower(name) == n {
					gone = append(gone, name)
				}
			}
		}
		if len(gone) == 0 {
			return nil
		}
		_, err = tx.NewDelete().Model((*tagRow)(nil)).Where("owner_id = ? AND name IN (?)", e.ID, bun.In(gone)).Exec(ctx)
		return err
	})
}

// Tags returns the tags of a record.
func (s *Service) Tags(ctx context.Context, ref Ref) (map[string]string, error) {
	e, err := entityOf(ctx, s.db, ref)
	if err != nil {
		return nil, err
	}
	return tagsOf(ctx, s.db, e.ID)
}

func tagsOf(ctx context.Context, db bun.IDB, owner string) (map[string]string, error) {
	var rows []tagRow
	if err := db.NewSelect().Model(&rows).Where("owner_id = ?", owner).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read tags: %w", err)
	}
	tags := make(map[string]string, len(rows))
	for _, r := range rows {
		tags[r.Name] = r.Value
	}
	return tags, nil
}

// putTags adds tags to a record. Names that differ only in case are one tag,
// and the newer spelling stays.
func putTags(ctx context.Context, tx bun.Tx, owner string, tags map[string]string) error {
	if len(tags) == 0 {
		return nil
	}
	if err := checkTags(tags); err != nil {
		return err
	}
	have, err := tagsOf(ctx, tx, owner)
	if err != nil {
		return err
	}
	spelled := make(map[string]string, len(have))
	for name := range have {
		spelled[strings.ToLower(name)] = name
	}
	for name, value := range tags {
		if old, ok := spelled[strings.ToLower(name)]; ok {
			if _, err := tx.NewDelete().Model(&tagRow{OwnerID: owner, Name: old}).WherePK().Exec(ctx); err != nil {
				return err
			}
		}
		spelled[strings.ToLower(name)] = name
		if _, err := tx.NewInsert().Model(&tagRow{OwnerID: owner, Name: name, Value: value}).Exec(ctx); err != nil {
			return err
		}
	}
	if len(spelled) > maxTags {
		return newError(ErrLimitExceeded, "The number of tags has reached the maximum limit: %d", maxTags)
	}
	return nil
}

func checkTags(tags map[string]string) error {
	seen := make(map[string]bool, len(tags))
	for name, value := range tags {
		lower := strings.ToLower(name)
		switch {
		case name == "" || utf8.RuneCountInString(name) > 128 || !validTag.MatchString(name):
			return newError(ErrInvalidInput, "The tag key '%.128s' is invalid. It must have 1 to 128 letters, numbers, spaces or the following: _.:/=+-@", name)
		case strings.HasPrefix(lower, "aws:"):
			return newError(ErrInvalidInput, "The tag key '%s' is invalid: the prefix aws: is reserved.", name)
		case utf8.RuneCountInString(value) > 256 || !validTag.MatchString(value):
			return newError(ErrInvalidInput, "The value of the tag '%s' is invalid. It must have at most 256 letters, numbers, spaces or the following: _.:/=+-@", name)
		case seen[lower]:
			return newError(ErrInvalidInput, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[lower] = true
	}
	return nil
}
