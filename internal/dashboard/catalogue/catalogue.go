// Package catalogue has boards by their number on grafana.com: those that come
// with the program, and any other when the network allows.
package catalogue

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mangru/mangru/internal/dashboard/grafanaapi"
	"github.com/mangru/mangru/internal/dashboard/records"
)

//go:embed boards/*.json
var bundled embed.FS

// Catalogue finds boards by number and by address.
type Catalogue struct {
	boards map[int64]json.RawMessage
	list   []grafanaapi.CatalogueEntry
	client *http.Client
	// site is where boards that are not bundled are asked for.
	site string
}

// fileNumber reads the number that a bundled board's file name begins with.
var fileNumber = regexp.MustCompile(`^(\d+)-`)

// maxBoards bounds how much is loaded from elsewhere.
const maxBytes = records.MaxBoardBytes

// New returns the bundled boards and the way to others. allow decides which
// addresses may be called; nil means public ones only.
func New(allow func(netip.Addr) error) (*Catalogue, error) {
	sub, err := fs.Sub(bundled, "boards")
	if err != nil {
		return nil, err
	}
	if allow == nil {
		allow = publicOnly
	}
	c := &Catalogue{boards: map[int64]json.RawMessage{}, client: client(allow), site: "https://grafana.com"}
	return c, c.load(sub)
}

func (c *Catalogue) load(dir fs.FS) error {
	files, err := fs.Glob(dir, "*.json")
	if err != nil {
		return err
	}
	for _, name := range files {
		m := fileNumber.FindStringSubmatch(name)
		if m == nil {
			return fmt.Errorf("bundled board %s: the file's name must begin with its number", name)
		}
		id, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return fmt.Errorf("bundled board %s: %w", name, err)
		}
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return err
		}
		e := grafanaapi.CatalogueEntry{ID: id}
		if err := json.Unmarshal(text, &e); err != nil {
			return fmt.Errorf("bundled board %s: %w", name, err)
		}
		e.ID = id
		c.boards[id] = text
		c.list = append(c.list, e)
	}
	slices.SortFunc(c.list, func(a, b grafanaapi.CatalogueEntry) int { return strings.Compare(a.Title, b.Title) })
	return nil
}

// List describes the bundled boards by title.
func (c *Catalogue) List() []grafanaapi.CatalogueEntry { return slices.Clone(c.list) }

// Board returns a board as grafana.com describes it. A bundled one is preferred:
// it is made for the labels that this system collects.
func (c *Catalogue) Board(ctx context.Context, id string) (map[string]any, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 {
		return nil, fmt.Errorf("%w: a number of a board on grafana.com is needed", records.ErrNotFound)
	}
	if text, ok := c.boards[n]; ok {
		i := slices.IndexFunc(c.list, func(e grafanaapi.CatalogueEntry) bool { return e.ID == n })
		return map[string]any{
			"id": n, "name": c.list[i].Title, "description": c.list[i].Description, "slug": records.Slug(c.list[i].Title), "revision": 1, "orgName": "Mangru",
			"source": "bundled", "json": text,
		}, nil
	}
	var out map[string]any
	text, err := c.get(ctx, c.site+"/api/dashboards/"+strconv.FormatInt(n, 10))
	if err != nil {
		return nil, fmt.Errorf("board %d is not among the bundled ones, and grafana.com can't be reached from here: %w", n, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("grafana.com's answer is not JSON: %w", err)
	}
	out["source"] = "grafana.com"
	return out, nil
}

// Fetch returns the JSON at an address.
func (c *Catalogue) Fetch(ctx context.Context, address string) (json.RawMessage, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("found %q, allowed are addresses that begin with http:// or https://, without user and password", address)
	}
	text, err := c.get(ctx, u.String())
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, errors.New("what is at that address is no JSON object, so no dashboard")
	}
	return text, nil
}

func (c *Catalogue) get(ctx context.Context, address string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return nil, records.ErrNotFound
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer was %s", res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxBytes+1))
	if err == nil && len(text) > maxBytes {
		err = fmt.Errorf("a board may have at most %d bytes", maxBytes)
	}
	return text, err
}

// client goes where allow says, judged after names are resolved, also when it is
// led on. It uses no proxy: the proxy would resolve names itself.
func client(allow func(netip.Addr) error) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return err
		}
		return allow(ip.Unmap())
	}}
	return &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, DisableKeepAlives: true},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) >= 5 {
				return errors.New("led on too often")
			}
			return nil
		},
	}
}

// sharedSpace is the range of carrier networks, which some clouds use inside.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func publicOnly(ip netip.Addr) error {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || sharedSpace.Contains(ip) {
		return fmt.Errorf("the address %s is not a public one, so boards are not fetched from it", ip)
	}
	return nil
}
