package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kick makes Run look for work now.
func (s *Service) Kick() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Run works off the states CREATING, UPDATING and DELETING until ctx is done.
// What fails is logged and tried again; what a crash left undone is found at the
// start, when all scrapers begin to run as well.
func (s *Service) Run(ctx context.Context) error {
	started := false
	for {
		var again <-chan time.Time
		err := s.start(ctx, &started)
		if err == nil {
			err = s.Reconcile(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.logger.Error("workspace work failed, trying again", "err", err, "after", s.retryAfter)
			again = time.After(s.retryAfter)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		case <-again:
		}
	}
}

// start does what has to be done once in the life of a process: settings that
// could not be applied are tried again, and all scrapers run.
func (s *Service) start(ctx context.Context, done *bool) error {
	if *done {
		return nil
	}
	if err := s.applyConfigurations(ctx, StatusUpdateFailed); err != nil {
		return err
	}
	if err := s.runScrapers(ctx, StatusActive, StatusUpdateFailed, StatusCreationFailed); err != nil {
		return err
	}
	*done = true
	return nil
}

// Reconcile does the work that is there now and returns what went wrong.
func (s *Service) Reconcile(ctx context.Context) error {
	var rows []row
	err := s.db.NewSelect().Model(&rows).Where("region = ?", s.cfg.Region).
		Where("status = ? OR status = ?", string(StatusCreating), string(StatusDeleting)).Order("created_at", "id").Scan(ctx)
	if err != nil {
		return fmt.Errorf("look for workspaces to create or delete: %w", err)
	}
	var errs []error
	for _, r := range rows {
		do := s.activate
		if Status(r.Status) == StatusDeleting {
			do = s.remove
		}
		if err := do(ctx, r.ID); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.applyConfigurations(ctx, StatusUpdating), s.runScrapers(ctx, StatusCreating, StatusUpdating, StatusDeleting))
	return errors.Join(errs...)
}

func (s *Service) activate(ctx context.Context, id string) error {
	if err := s.storage.Create(ctx, id); err != nil {
		return fmt.Errorf("create storage of workspace %s: %w", id, err)
	}
	// Only a workspace that is still CREATING: a delete may have come between.
	_, err := s.db.NewUpdate().Model((*row)(nil)).Set("status = ?", string(StatusActive)).
		Where("id = ? AND status = ?", id, string(StatusCreating)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("activate workspace %s: %w", id, err)
	}
	s.entries.changed(id)
	s.logger.Info("workspace active", "workspace", id)
	return nil
}

func (s *Service) remove(ctx context.Context, id string) error {
	if err := s.storage.Remove(ctx, id); err != nil {
		return fmt.Errorf("remove storage of workspace %s: %w", id, err)
	}
	if _, err := s.db.NewDelete().Model((*row)(nil)).Where("id = ?", id).Exec(ctx); err != nil {
		return fmt.Errorf("remove record of workspace %s: %w", id, err)
	}
	s.entries.changed(id)
	s.logger.Info("workspace deleted", "workspace", id)
	return nil
}

// Ensure returns the oldest workspace of the account with exactly this alias
// that is not being deleted, and makes one, ready for use, when there is none.
// It is for the first start, not for callers from outside.
func (s *Service) Ensure(ctx context.Context, account, alias string) (*Workspace, error) {
	in := ListInput{AliasPrefix: alias, MaxResults: 1000}
	for {
		page, next, err := s.List(ctx, account, in)
		if err != nil {
			return nil, err
		}
		for _, w := range page {
			if w.Alias == alias && w.Status != StatusDeleting {
				return w, nil
			}
		}
		if next == "" {
			break
		}
		in.NextToken = next
	}
	w, err := s.Create(ctx, account, CreateInput{Alias: alias})
	if err != nil {
		return nil, err
	}
	if err := s.activate(ctx, w.ID); err != nil {
		return nil, err
	}
	return s.Get(ctx, account, w.ID)
}
