package api

import (
	_ "embed" // the default configuration
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/workspace"
)

//go:embed scraper.yaml
var defaultScraperConfiguration []byte

// scrapers lists the operations on scrapers.
func (a *aps) scrapers() []Route {
	const list, one = "/scrapers", "/scrapers/{scraperId}"
	const logs = one + "/logging-configuration"
	create := a.tagging(a.route("CreateScraper", "POST", list, a.scraperDestination, a.createScraper))
	return []Route{
		create,
		a.route("ListScrapers", "GET", list, a.allScrapers, a.listScrapers),
		a.route("DescribeScraper", "GET", one, a.scraper, a.describeScraper),
		a.route("UpdateScraper", "PUT", one, a.scraper, a.updateScraper),
		a.route("DeleteScraper", "DELETE", one, a.scraper, a.deleteScraper),
		a.route("GetDefaultScraperConfiguration", "GET", "/scraperconfiguration", a.allScrapers, a.defaultScraper),
		a.route("UpdateScraperLoggingConfiguration", "PUT", logs, a.scraper, a.setScraperLog),
		a.route("DescribeScraperLoggingConfiguration", "GET", logs, a.scraper, a.describeScraperLog),
		a.route("DeleteScraperLoggingConfiguration", "DELETE", logs, a.scraper, a.deleteScraperLog),
	}
}

func (a *aps) allScrapers(c *Call) (string, error) {
	return workspace.ScraperListARN(a.cfg.Region, c.Principal.AccountID), nil
}

func (a *aps) scraper(c *Call) (string, error) {
	return workspace.ScraperARN(a.cfg.Region, c.Principal.AccountID, c.Params["scraperId"]), nil
}

// scraperDestination is the workspace that a new scraper is to write to: it is
// there that permission is needed.
func (a *aps) scraperDestination(c *Call) (string, error) {
	var in scraperInput
	if err := decodeBody(c, &in); err != nil {
		return "", err // what cannot be read cannot be judged
	}
	arn := in.workspaceARN()
	_, account, id, ok := workspace.ParseARN(arn)
	if !ok {
		return a.allScrapers(c)
	}
	if account == c.Principal.AccountID {
		c.Params = map[string]string{"workspaceId": id}
	}
	return arn, nil
}

type blobJSON struct {
	ConfigurationBlob []byte `json:"configurationBlob"`
}

type eksJSON struct {
	ClusterARN       string   `json:"clusterArn"`
	SecurityGroupIDs []string `json:"securityGroupIds,omitempty"`
	SubnetIDs        []string `json:"subnetIds"`
}

type sourceJSON struct {
	EKS *eksJSON `json:"eksConfiguration,omitempty"`
	VPC any      `json:"vpcConfiguration,omitempty"`
}

type ampJSON struct {
	WorkspaceARN string `json:"workspaceArn"`
}

type destinationJSON struct {
	AMP        *ampJSON `json:"ampConfiguration,omitempty"`
	CloudWatch any      `json:"cloudWatchConfiguration,omitempty"`
}

// scraperInput is the body of CreateScraper and UpdateScraper.
type scraperInput struct {
	Alias               *string           `json:"alias"`
	ClientToken         string            `json:"clientToken"`
	Destination         *destinationJSON  `json:"destination"`
	Exporters           []any             `json:"exporters"`
	RoleConfiguration   map[string]any    `json:"roleConfiguration"`
	ScrapeConfiguration *blobJSON         `json:"scrapeConfiguration"`
	Source              *sourceJSON       `json:"source"`
	Tags                map[string]string `json:"tags"`
}

func (in *scraperInput) workspaceARN() string {
	if in.Destination == nil || in.Destination.AMP == nil {
		return ""
	}
	return in.Destination.AMP.WorkspaceARN
}

// check notes what AWS has and is not here. It is refused, not left out.
func (in *scraperInput) check(bad *fields) {
	if len(in.RoleConfiguration) > 0 {
		bad.add("roleConfiguration", "scrapers do not work across accounts here")
	}
	if len(in.Exporters) > 0 {
		bad.add("exporters", "scrapers have no exporters here")
	}
	if in.Source != nil && in.Source.VPC != nil {
		bad.add("source.vpcConfiguration", "only eksConfiguration is supported")
	}
	if in.Destination != nil {
		if in.Destination.CloudWatch != nil {
			bad.add("destination.cloudWatchConfiguration", "only ampConfiguration is supported")
		} else {
			bad.require("destination.ampConfiguration.workspaceArn", in.workspaceARN() != "")
		}
	}
	if in.ScrapeConfiguration != nil {
		bad.require("scrapeConfiguration.configurationBlob", len(in.ScrapeConfiguration.ConfigurationBlob) > 0)
	}
}

func (a *aps) createScraper(w http.ResponseWriter, c *Call) error {
	var in scraperInput
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	var bad fields
	bad.require("scrapeConfiguration", in.ScrapeConfiguration != nil)
	bad.require("source", in.Source != nil)
	bad.require("destination", in.Destination != nil)
	if in.check(&bad); in.Source != nil && in.Source.VPC == nil {
		bad.require("source.eksConfiguration", in.Source.EKS != nil)
	}
	if err := bad.err(); err != nil {
		return err
	}
	eks := in.Source.EKS
	if err := a.also(c, "eks:DescribeCluster", eks.ClusterARN, nil); err != nil {
		return err
	}
	made := workspace.Scraper{Tags: in.Tags, Configuration: in.ScrapeConfiguration.ConfigurationBlob, WorkspaceARN: in.workspaceARN(),
		Source: workspace.ScraperSource{ClusterARN: eks.ClusterARN, SecurityGroupIDs: eks.SecurityGroupIDs, SubnetIDs: eks.SubnetIDs}}
	if in.Alias != nil {
		made.Alias = *in.Alias
	}
	s, err := a.cfg.Workspaces.CreateScraper(c.Request.Context(), c.Principal.AccountID, made, in.ClientToken)
	if err != nil {
		return err
	}
	WriteJSON(w, http.StatusAccepted, shortScraper(s))
	return nil
}

// also asks whether the caller may do something besides what the call itself is,
// with a scraper's hands. The conditions of the call's own resource are left out.
func (a *aps) also(c *Call, action, resource string, tags map[string]string) error {
	if a.cfg.Authorizer == nil {
		return &workspace.RefusedError{Message: "This server makes no scrapers: it cannot tell what they may do."}
	}
	keys := maps.Clone(c.Context)
	maps.DeleteFunc(keys, func(k string, _ []string) bool {
		return strings.HasPrefix(k, "aws:resourcetag/") || strings.HasPrefix(k, "aws:requesttag/") || k == "aws:tagkeys"
	})
	if account := accountOf(resource); account != "" {
		keys["aws:resourceaccount"] = []string{account}
	}
	iam.AddTagKeys(keys, "aws:resourcetag/", tags)
	return a.cfg.Authorizer.Authorize(c.Request.Context(), iam.Request{Principal: c.Principal, Action: action, Resource: resource, Context: keys})
}

// scraperJSON is a scraper as lists and descriptions have it.
type scraperJSON struct {
	Alias               string            `json:"alias,omitempty"`
	ARN                 string            `json:"arn"`
	CreatedAt           seconds           `json:"createdAt,omitempty"`
	Destination         *destinationJSON  `json:"destination,omitempty"`
	LastModifiedAt      seconds           `json:"lastModifiedAt,omitempty"`
	RoleARN             string            `json:"roleArn,omitempty"`
	ScrapeConfiguration *blobJSON         `json:"scrapeConfiguration,omitempty"`
	ScraperID           string            `json:"scraperId"`
	Source              *sourceJSON       `json:"source,omitempty"`
	Status              statusJSON        `json:"status"`
	StatusReason        string            `json:"statusReason,omitempty"`
	Tags                map[string]string `json:"tags"`
}

// shortScraper is a scraper as answers to changes have it.
func shortScraper(s *workspace.Scraper) scraperJSON {
	return scraperJSON{ARN: s.ARN(), ScraperID: s.ID, Status: statusJSON{StatusCode: s.Status}, Tags: s.Tags}
}

func scraperSummary(s *workspace.Scraper) scraperJSON {
	out := shortScraper(s)
	out.Alias, out.CreatedAt, out.LastModifiedAt = s.Alias, secondsOf(s.CreatedAt), secondsOf(s.ModifiedAt)
	out.RoleARN, out.StatusReason = s.RoleARN(), s.StatusReason
	out.Destination = &destinationJSON{AMP: &ampJSON{s.WorkspaceARN}}
	out.Source = &sourceJSON{EKS: &eksJSON{s.Source.ClusterARN, s.Source.SecurityGroupIDs, s.Source.SubnetIDs}}
	return out
}

func (a *aps) describeScraper(w http.ResponseWriter, c *Call) error {
	s, err := a.cfg.Workspaces.Scraper(c.Request.Context(), c.Principal.AccountID, c.Params["scraperId"])
	if err != nil {
		return err
	}
	out := scraperSummary(s)
	out.ScrapeConfiguration = &blobJSON{s.Configuration}
	WriteJSON(w, http.StatusOK, map[string]scraperJSON{"scraper": out})
	return nil
}

// scraperFilters are the keys that lists of scrapers can be narrowed by, and
// what each is compared with.
var scraperFilters = map[string]func(*workspace.Scraper) string{
	"status":         func(s *workspace.Scraper) string { return string(s.Status) },
	"sourceArn":      func(s *workspace.Scraper) string { return s.Source.ClusterARN },
	"destinationArn": func(s *workspace.Scraper) string { return s.WorkspaceARN },
	"alias":          func(s *workspace.Scraper) string { return s.Alias },
}

const (
	maxFilterValues = 20
	maxFilterValue  = 256
)

// filtersOf reads the filters of a list: the keys of a query that are no other
// parameter. A presigned URL has some of its own.
func filtersOf(q url.Values) (url.Values, error) {
	out := url.Values{}
	var bad fields
	for key, values := range q {
		if key == "maxResults" || key == "nextToken" || strings.HasPrefix(strings.ToLower(key), "x-amz-") {
			continue
		}
		if scraperFilters[key] == nil {
			bad.add("filters", strconv.Quote(key)+" is not a filter, allowed are alias, destinationArn, sourceArn, status")
			continue
		}
		if len(values) > maxFilterValues || slices.ContainsFunc(values, func(v string) bool { return v == "" || len(v) > maxFilterValue }) {
			bad.add("filters", key+" takes 1 to 20 values of 1 to 256 characters")
		}
		out[key] = values
	}
	return out, bad.err()
}

func (a *aps) listScrapers(w http.ResponseWriter, c *Call) error {
	q := c.Request.URL.Query()
	filters, err := filtersOf(q)
	if err != nil {
		return err
	}
	list, err := a.cfg.Workspaces.Scrapers(c.Request.Context(), c.Principal.AccountID)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s *workspace.Scraper) bool {
		for key, values := range filters {
			if !slices.Contains(values, scraperFilters[key](s)) {
				return true
			}
		}
		return false
	})
	list, next, err := page(q, "scrapers?"+filters.Encode(), list, func(s *workspace.Scraper) string {
		return s.CreatedAt.Format("20060102150405.000") + s.ID
	})
	if err != nil {
		return err
	}
	out := struct {
		NextToken string        `json:"nextToken,omitempty"`
		Scrapers  []scraperJSON `json:"scrapers"`
	}{next, make([]scraperJSON, 0, len(list))}
	for _, s := range list {
		out.Scrapers = append(out.Scrapers, scraperSummary(s))
	}
	WriteJSON(w, http.StatusOK, out)
	return nil
}

func (a *aps) updateScraper(w http.ResponseWriter, c *Call) error {
	var in scraperInput
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	var bad fields
	if in.check(&bad); in.Source != nil {
		bad.add("source", "the source of a scraper cannot be changed")
	}
	if err := bad.err(); err != nil {
		return err
	}
	change := workspace.ScraperChange{Alias: in.Alias}
	if in.ScrapeConfiguration != nil {
		change.Configuration = in.ScrapeConfiguration.ConfigurationBlob
	}
	if arn := in.workspaceARN(); arn != "" {
		// Whoever may change the scraper need not be one who may write there.
		if err := a.mayScrapeInto(c, arn); err != nil {
			return err
		}
		change.WorkspaceARN = &arn
	}
	s, err := a.cfg.Workspaces.UpdateScraper(c.Request.Context(), c.Principal.AccountID, c.Params["scraperId"], change, in.ClientToken)
	if err != nil {
		return err
	}
	WriteJSON(w, http.StatusAccepted, shortScraper(s))
	return nil
}

// mayScrapeInto asks for the permission that making a scraper for a workspace
// takes.
func (a *aps) mayScrapeInto(c *Call, arn string) error {
	var tags map[string]string
	if _, account, id, ok := workspace.ParseARN(arn); ok && account == c.Principal.AccountID {
		e, err := a.cfg.Workspaces.Lookup(c.Request.Context(), id)
		switch {
		case err != nil && !errors.Is(err, workspace.ErrNotFound):
			return err
		case err == nil && e.AccountID == account:
			tags = e.Tags
		}
	}
	return a.also(c, "aps:CreateScraper", arn, tags)
}

func (a *aps) deleteScraper(w http.ResponseWriter, c *Call) error {
	id := c.Params["scraperId"]
	if err := a.cfg.Workspaces.DeleteScraper(c.Request.Context(), c.Principal.AccountID, id, queryToken(c)); err != nil {
		return err
	}
	WriteJSON(w, http.StatusAccepted, struct {
		ScraperID string     `json:"scraperId"`
		Status    statusJSON `json:"status"`
	}{id, statusJSON{StatusCode: workspace.StatusDeleting}})
	return nil
}

func (a *aps) defaultScraper(w http.ResponseWriter, _ *Call) error {
	WriteJSON(w, http.StatusOK, map[string][]byte{"configuration": a.cfg.ScraperConfiguration})
	return nil
}

type componentJSON struct {
	Config *componentConfigJSON `json:"config,omitempty"`
	Type   string               `json:"type"`
}

type componentConfigJSON struct {
	Options map[string]string `json:"options"`
}

type scraperLogDestinationJSON struct {
	CloudWatchLogs *logGroupJSON `json:"cloudWatchLogs"`
}

func (a *aps) setScraperLog(w http.ResponseWriter, c *Call) error {
	var in struct {
		Destination *scraperLogDestinationJSON `json:"loggingDestination"`
		Components  []componentJSON            `json:"scraperComponents"`
	}
	if err := decodeBody(c, &in); err != nil {
		return err
	}
	var bad fields
	there := in.Destination != nil && in.Destination.CloudWatchLogs != nil && in.Destination.CloudWatchLogs.LogGroupARN != ""
	bad.require("loggingDestination.cloudWatchLogs.logGroupArn", there)
	if err := bad.err(); err != nil {
		return err
	}
	var components []workspace.ScraperComponent
	for _, one := range in.Components {
		to := workspace.ScraperComponent{Type: one.Type}
		if one.Config != nil {
			to.Options = one.Config.Options
		}
		components = append(components, to)
	}
	l, err := a.cfg.Workspaces.SetScraperLog(c.Request.Context(), c.Principal.AccountID, c.Params["scraperId"],
		workspace.LogDestination{Target: in.Destination.CloudWatchLogs.LogGroupARN}, components)
	if err != nil {
		return err
	}
	writeStatus(w, statusJSON{l.Status, l.StatusReason})
	return nil
}

func (a *aps) describeScraperLog(w http.ResponseWriter, c *Call) error {
	id := c.Params["scraperId"]
	l, err := a.cfg.Workspaces.ScraperLog(c.Request.Context(), c.Principal.AccountID, id)
	if err != nil {
		return err
	}
	out := struct {
		Destination scraperLogDestinationJSON `json:"loggingDestination"`
		ModifiedAt  seconds                   `json:"modifiedAt"`
		Components  []componentJSON           `json:"scraperComponents"`
		ScraperID   string                    `json:"scraperId"`
		Status      statusJSON                `json:"status"`
	}{Destination: scraperLogDestinationJSON{&logGroupJSON{l.Destination.Target}}, ModifiedAt: secondsOf(l.ModifiedAt), ScraperID: id,
		Status: statusJSON{l.Status, l.StatusReason}}
	for _, one := range l.Components {
		to := componentJSON{Type: one.Type}
		if len(one.Options) > 0 {
			to.Config = &componentConfigJSON{one.Options}
		}
		out.Components = append(out.Components, to)
	}
	WriteJSON(w, http.StatusOK, out)
	return nil
}

func (a *aps) deleteScraperLog(w http.ResponseWriter, c *Call) error {
	err := a.cfg.Workspaces.DeleteScraperLog(c.Request.Context(), c.Principal.AccountID, c.Params["scraperId"], queryToken(c))
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
