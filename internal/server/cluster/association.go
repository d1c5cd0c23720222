package cluster

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/policy"
)

type associationRow struct {
	bun.BaseModel  `bun:"table:cluster_associations,alias:a"`
	ID             string `bun:"id,pk"`
	ClusterID      string `bun:"cluster_id"`
	Namespace      string `bun:"namespace"`
	ServiceAccount string `bun:"service_account"`
	RoleARN        string `bun:"role_arn"`
	TargetRoleARN  string `bun:"target_role_arn"`
	Policy         string `bun:"policy"`
	NoSessionTags  int    `bun:"no_session_tags"`
	Tags           string `bun:"tags"`
	CreatedAt      int64  `bun:"created_at"`
	ModifiedAt     int64  `bun:"modified_at"`
}

func (r *associationRow) association(c *Cluster) (*Association, error) {
	a := &Association{ID: r.ID, Cluster: c, Namespace: r.Namespace, ServiceAccount: r.ServiceAccount,
		RoleARN: r.RoleARN, TargetRoleARN: r.TargetRoleARN, Policy: r.Policy, NoSessionTags: r.NoSessionTags != 0,
		CreatedAt: time.UnixMilli(r.CreatedAt).UTC(), ModifiedAt: time.UnixMilli(r.ModifiedAt).UTC()}
	if err := json.Unmarshal([]byte(r.Tags), &a.Tags); err != nil {
		return nil, fmt.Errorf("tags of association %s: %w", r.ID, err)
	}
	return a, nil
}

// AssociateInput is what an association is made from.
type AssociateInput struct {
	Namespace, ServiceAccount, RoleARN, TargetRoleARN, Policy string

	NoSessionTags bool
	Tags          map[string]string
	ClientToken   string
}

func checkAssociation(r *associationRow) error {
	switch {
	case !validNamespace().MatchString(r.Namespace):
		return &InvalidError{"namespace", fmt.Sprintf("found %.100q, expected the name of a Kubernetes namespace", r.Namespace)}
	case !validAccount().MatchString(r.ServiceAccount):
		return &InvalidError{"serviceAccount", fmt.Sprintf("found %.300q, expected the name of a Kubernetes service account", r.ServiceAccount)}
	case len(r.RoleARN) > maxARN || !validRole().MatchString(r.RoleARN):
		return &InvalidError{"roleArn", fmt.Sprintf("found %.300q, expected the ARN of a role", r.RoleARN)}
	case r.TargetRoleARN != "" && (len(r.TargetRoleARN) > maxARN || !validRole().MatchString(r.TargetRoleARN)):
		return &InvalidError{"targetRoleArn", fmt.Sprintf("found %.300q, expected the ARN of a role", r.TargetRoleARN)}
	case len(r.Policy) > maxPolicy:
		return &InvalidError{"policy", fmt.Sprintf("at most %d bytes are allowed", maxPolicy)}
	case r.Policy != "" && checkPolicy(r.Policy) != nil:
		return &InvalidError{"policy", checkPolicy(r.Policy).Error()}
	case r.Policy != "" && r.TargetRoleARN == "":
		return &InvalidError{"policy", "narrows what a target role allows: it needs targetRoleArn"}
	case r.Policy != "" && r.NoSessionTags == 0:
		return &InvalidError{"policy", "needs disableSessionTags to be true"}
	}
	return nil
}

func checkPolicy(text string) error {
	_, err := policy.Parse([]byte(text), policy.Identity)
	return err
}

// Associate lets a service account of a cluster act as a role. The account and
// the role are not looked up: they may come later.
func (s *Service) Associate(ctx context.Context, account, clusterName string, in AssociateInput) (*Association, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	now := s.cfg.Now().UnixMilli()
	r := &associationRow{ID: newAssociationID(), Namespace: in.Namespace, ServiceAccount: in.ServiceAccount,
		RoleARN: in.RoleARN, TargetRoleARN: in.TargetRoleARN, Policy: in.Policy, NoSessionTags: number(in.NoSessionTags),
		Tags: encodeTags(in.Tags), CreatedAt: now, ModifiedAt: now}
	if err := checkAssociation(r); err != nil {
		return nil, err
	}
	t := &tokenRow{AccountID: account, Operation: "CreatePodIdentityAssociation", Token: in.ClientToken, Result: r.ID,
		Input: hashInput(clusterName, r.Namespace, r.ServiceAccount, r.RoleARN, r.TargetRoleARN, r.Policy, r.Tags, fmt.Sprint(r.NoSessionTags))}
	err := s.once(ctx, t, func(ctx context.Context, tx bun.Tx) error {
		c, err := s.find(ctx, tx, account, clusterName)
		if err != nil {
			return err
		}
		r.ClusterID = c.ID
		n, err := tx.NewSelect().Model((*associationRow)(nil)).Where("cluster_id = ?", c.ID).Count(ctx)
		if err != nil {
			return err
		}
		if n >= s.cfg.MaxAssociations {
			return &LimitError{fmt.Sprintf("%d associations are the most a cluster may have.", s.cfg.MaxAssociations)}
		}
		var old associationRow
		err = tx.NewSelect().Model(&old).
			Where("cluster_id = ? AND namespace = ? AND service_account = ?", c.ID, r.Namespace, r.ServiceAccount).Scan(ctx)
		if err == nil {
			return &ExistsError{"Association already exists: " + old.ID}
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		_, err = tx.NewInsert().Model(r).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("associate a role in cluster "+clusterName, err)
	}
	return s.Association(ctx, account, clusterName, t.Result)
}

// UpdateAssociationInput changes what is not nil.
type UpdateAssociationInput struct {
	RoleARN, TargetRoleARN, Policy *string
	NoSessionTags                  *bool
}

// UpdateAssociation changes the role, or what narrows it.
func (s *Service) UpdateAssociation(ctx context.Context, account, clusterName, id string, in UpdateAssociationInput) (*Association, error) {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		_, r, err := s.findAssociation(ctx, tx, account, clusterName, id)
		if err != nil {
			return err
		}
		for to, from := range map[*string]*string{&r.RoleARN: in.RoleARN, &r.TargetRoleARN: in.TargetRoleARN, &r.Policy: in.Policy} {
			if from != nil {
				*to = *from
			}
		}
		if in.NoSessionTags != nil {
			r.NoSessionTags = number(*in.NoSessionTags)
		}
		if err := checkAssociation(r); err != nil {
			return err
		}
		r.ModifiedAt = s.cfg.Now().UnixMilli()
		_, err = tx.NewUpdate().Model(r).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("update association "+id, err)
	}
	return s.Association(ctx, account, clusterName, id)
}

// Dissociate removes an association and returns what it was.
func (s *Service) Dissociate(ctx context.Context, account, clusterName, id string) (*Association, error) {
	var a *Association
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		c, r, err := s.findAssociation(ctx, tx, account, clusterName, id)
		if err != nil {
			return err
		}
		if a, err = r.association(c); err != nil {
			return err
		}
		_, err = tx.NewDelete().Model(r).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, wrapDB("remove association "+id, err)
	}
	return a, nil
}

// Association returns an association, or a *NotFoundError.
func (s *Service) Association(ctx context.Context, account, clusterName, id string) (*Association, error) {
	c, r, err := s.findAssociation(ctx, s.db, account, clusterName, id)
	if err != nil {
		return nil, err
	}
	return r.association(c)
}

func (s *Service) findAssociation(ctx context.Context, db bun.IDB, account, clusterName, id string) (*Cluster, *associationRow, error) {
	cr, err := s.find(ctx, db, account, clusterName)
	if err != nil {
		return nil, nil, err
	}
	c, err := cr.cluster()
	if err != nil {
		return nil, nil, err
	}
	var r associationRow
	err = db.NewSelect().Model(&r).Where("id = ? AND cluster_id = ?", id, c.ID).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, &NotFoundError{"No association found with associationId: " + id}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read association %s: %w", id, err)
	}
	return c, &r, nil
}

// AssociationOf returns a service account's association in a cluster, or a
// *NotFoundError.
func (s *Service) AssociationOf(ctx context.Context, c *Cluster, namespace, serviceAccount string) (*Association, error) {
	var r associationRow
	err := s.db.NewSelect().Model(&r).
		Where("cluster_id = ? AND namespace = ? AND service_account = ?", c.ID, namespace, serviceAccount).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &NotFoundError{"The token included in the request has no service account role association for it."}
	}
	if err != nil {
		return nil, fmt.Errorf("read association of service account %s/%s: %w", namespace, serviceAccount, err)
	}
	return r.association(c)
}

// ListAssociationsInput selects and pages.
type ListAssociationsInput struct {
	Namespace, ServiceAccount string // "" for all
	MaxResults                int    // zero means 100
	NextToken                 string
}

// Associations returns a cluster's associations in order of their ids, and the
// token of the next page.
func (s *Service) Associations(ctx context.Context, account, clusterName string, in ListAssociationsInput) ([]*Association, string, error) {
	limit, err := pageSize(in.MaxResults)
	if err != nil {
		return nil, "", err
	}
	c, err := s.Get(ctx, account, clusterName)
	if err != nil {
		return nil, "", err
	}
	filter := c.ID + "/" + in.Namespace + "/" + in.ServiceAccount
	after, err := decodePage(in.NextToken, filter)
	if err != nil {
		return nil, "", err
	}
	var rows []associationRow
	q := s.db.NewSelect().Model(&rows).Where("cluster_id = ? AND id > ?", c.ID, after)
	if in.Namespace != "" {
		q = q.Where("namespace = ?", in.Namespace)
	}
	if in.ServiceAccount != "" {
		q = q.Where("service_account = ?", in.ServiceAccount)
	}
	if err := q.Order("id").Limit(limit + 1).Scan(ctx); err != nil {
		return nil, "", fmt.Errorf("list associations of cluster %s: %w", clusterName, err)
	}
	next := ""
	if len(rows) > limit {
		rows = rows[:limit]
		next = pageToken{After: rows[limit-1].ID, Filter: filter}.encode()
	}
	out := make([]*Association, 0, len(rows))
	for i := range rows {
		a, err := rows[i].association(c)
		if err != nil {
			return nil, "", err
		}
		out = append(out, a)
	}
	return out, next, nil
}

// TagAssociation adds tags to an association or replaces their values.
func (s *Service) TagAssociation(ctx context.Context, account, clusterName, id string, tags map[string]string) error {
	return s.updateAssociationTags(ctx, account, clusterName, id, func(have map[string]string) { maps.Copy(have, tags) })
}

// UntagAssociation removes tags; names it does not have are no error.
func (s *Service) UntagAssociation(ctx context.Context, account, clusterName, id string, keys []string) error {
	return s.updateAssociationTags(ctx, account, clusterName, id, func(have map[string]string) { deleteKeys(have, keys) })
}

func (s *Service) updateAssociationTags(ctx context.Context, account, clusterName, id string, change func(map[string]string)) error {
	err := s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		_, r, err := s.findAssociation(ctx, tx, account, clusterName, id)
		if err != nil {
			return err
		}
		if r.Tags, err = changeTags(r.Tags, change); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model(r).Column("tags").WherePK().Exec(ctx)
		return err
	})
	return wrapDB("update tags of association "+id, err)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// newAssociationID returns "a-" and 17 letters or digits, some 88 bits.
func newAssociationID() string {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
	b := make([]byte, 0, 17)
	var in [1]byte
	for len(b) < cap(b) {
		_, _ = rand.Read(in[:]) // never fails
		if n := int(in[0]); n < 252 {
			b = append(b, alphabet[n%36]) // 252 is 7*36: no letter is likelier
		}
	}
	return "a-" + string(b)
}
