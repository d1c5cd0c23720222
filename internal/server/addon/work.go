package addon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/server/cluster"
)

func (s *Service) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run brings add-ons about, also those that a stop has interrupted, until ctx
// ends. What it is doing then is given up, and taken up by the next Run.
func (s *Service) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(s.cfg.CheckEvery)
	defer tick.Stop()
	for {
		if err := s.round(ctx, &running); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("add-ons cannot be looked at", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// round begins what is to be done and is not being done.
func (s *Service) round(ctx context.Context, running *sync.WaitGroup) error {
	var rows []row
	if err := s.db.NewSelect().Model(&rows).Where("status NOT IN (?)", bun.In([]Status{CreateFailed, DeleteFailed, UpdateFailed})).Scan(ctx); err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		key := r.ClusterID + "/" + r.Name
		s.mu.Lock()
		busy := s.work[key]
		s.work[key] = true
		s.mu.Unlock()
		if busy {
			continue
		}
		running.Go(func() {
			err := s.one(ctx, r)
			s.mu.Lock()
			delete(s.work, key)
			s.mu.Unlock()
			if err != nil && ctx.Err() == nil {
				s.cfg.Logger.Error("an add-on's record cannot be written", "addon", r.Name, "err", err)
			}
			s.again(ctx, r)
		})
	}
	return nil
}

// again has another round where the record was changed meanwhile.
func (s *Service) again(ctx context.Context, r *row) {
	if now, err := s.find(ctx, s.db, &cluster.Cluster{ID: r.ClusterID}, r.Name); err == nil && now.ModifiedAt != r.ModifiedAt {
		s.nudge()
	}
}

// one does what a record asks for and writes down what came of it.
func (s *Service) one(ctx context.Context, r *row) error {
	c, err := s.cfg.Clusters.ByID(ctx, r.ClusterID)
	if err != nil {
		return err
	}
	a, err := r.addon(c)
	if err != nil {
		return err
	}
	log := s.cfg.Logger.With("cluster", c.Name, "addon", r.Name)
	work, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, fmt.Errorf("gave up after %s", s.cfg.Timeout))
	defer cancel()
	var next Status
	switch r.Status {
	case Creating, Updating:
		err = s.cfg.Installer.Install(work, a)
		next = outcome(r.Status, issues(err))
	case Deleting:
		if !a.preserve {
			err = s.cfg.Installer.Remove(work, a)
		}
		if err == nil {
			log.Info("add-on removed", "preserve", a.preserve)
			return s.drop(ctx, r)
		}
		next = DeleteFailed
	default:
		err = s.cfg.Installer.Check(work, a)
		next = Active
		if err != nil {
			next = Degraded
		}
	}
	if ctx.Err() != nil {
		return nil // it was interrupted, which says nothing about it
	}
	found := issues(err)
	if next != r.Status {
		log.Info("add-on", "status", next, "issues", found)
	}
	return s.settle(ctx, r, next, found)
}

// outcome is what an installation that had these issues has led to: what is
// installed and does not work is degraded.
func outcome(was Status, found []Issue) Status {
	switch {
	case len(found) == 0:
		return Active
	case found[0].Code == InsufficientNumberOfReplicas:
		return Degraded
	case was == Updating:
		return UpdateFailed
	}
	return CreateFailed
}

// issues reads them out of an error; another error is one of ours.
func issues(err error) []Issue {
	if err == nil {
		return []Issue{}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []Issue
		for _, e := range many.Unwrap() {
			out = append(out, issues(e)...)
		}
		return out
	}
	var i *Issue
	if errors.As(err, &i) {
		if i.ResourceIDs == nil {
			i.ResourceIDs = []string{}
		}
		return []Issue{*i}
	}
	return []Issue{{Code: InternalFailure, Message: err.Error(), ResourceIDs: []string{}}}
}

// settle writes a result down, unless somebody asks for something else by now.
func (s *Service) settle(ctx context.Context, r *row, next Status, found []Issue) error {
	if next == r.Status && encode(found) == r.Issues {
		return nil
	}
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*row)(nil)).Set("status = ?", next).Set("issues = ?", encode(found)).
			Where("cluster_id = ? AND name = ? AND modified_at = ? AND status = ?", r.ClusterID, r.Name, r.ModifiedAt, r.Status).Exec(ctx)
		if err != nil || r.Status != Updating {
			return err
		}
		state, errs := successful, []UpdateError{}
		if next != Active {
			state = failed
			for _, i := range found {
				errs = append(errs, UpdateError(i))
			}
		}
		_, err = tx.NewUpdate().Model((*updateRow)(nil)).Set("status = ?", state).Set("errors = ?", encode(errs)).
			Where("cluster_id = ? AND name = ? AND status = ?", r.ClusterID, r.Name, inProgress).Exec(ctx)
		return err
	})
}

func (s *Service) drop(ctx context.Context, r *row) error {
	_, err := s.db.NewDelete().Model(r).WherePK().Exec(ctx)
	return err
}
