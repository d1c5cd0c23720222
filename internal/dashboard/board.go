package dashboard

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

//go:embed boards/*.json
var bundled embed.FS

// Bundled returns the boards that come with the program.
func Bundled() fs.FS {
	sub, err := fs.Sub(bundled, "boards")
	if err != nil {
		panic("BUG: " + err.Error()) // the folder is part of the program
	}
	return sub
}

// Board is a dashboard as its author wrote it, with what lists need to know.
type Board struct {
	UID    string
	Title  string
	Slug   string
	Tags   []string
	Folder string
	// JSON is the board in Grafana's form, kept byte for byte.
	JSON json.RawMessage
}

// URL is the path under which the UI shows the board.
func (b *Board) URL() string { return "/d/" + b.UID + "/" + b.Slug }

// Boards is a set of boards.
type Boards struct {
	list  []*Board
	byUID map[string]*Board
}

// LoadBoards reads every .json file at the top of fsys into one folder's boards.
func LoadBoards(fsys fs.FS, folder string) (*Boards, error) {
	files, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, fmt.Errorf("list boards: %w", err)
	}
	set := &Boards{byUID: make(map[string]*Board)}
	for _, name := range files {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read board: %w", err)
		}
		b, err := parseBoard(text)
		if err != nil {
			return nil, fmt.Errorf("board %s: %w", name, err)
		}
		if other := set.byUID[b.UID]; other != nil {
			return nil, fmt.Errorf("board %s: uid %q is also that of %q", name, b.UID, other.Title)
		}
		b.Folder = folder
		set.byUID[b.UID] = b
		set.list = append(set.list, b)
	}
	slices.SortFunc(set.list, func(a, b *Board) int { return strings.Compare(a.Title, b.Title) })
	return set, nil
}

var uidForm = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`)

func parseBoard(text []byte) (*Board, error) {
	var head struct {
		UID   string   `json:"uid"`
		Title string   `json:"title"`
		Tags  []string `json:"tags"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("not a dashboard: %w", err)
	}
	if !uidForm.MatchString(head.UID) {
		return nil, fmt.Errorf("field uid: found %q, allowed are 1 to 40 letters, digits, - and _", head.UID)
	}
	if strings.TrimSpace(head.Title) == "" {
		return nil, fmt.Errorf("field title: must not be empty")
	}
	return &Board{UID: head.UID, Title: head.Title, Slug: slug(head.Title), Tags: head.Tags, JSON: text}, nil
}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// slug is the readable tail of a board's address; only the uid decides.
func slug(title string) string {
	return strings.Trim(notSlug.ReplaceAllString(strings.ToLower(title), "-"), "-")
}

// Get returns the board with a uid, or nil.
func (s *Boards) Get(uid string) *Board { return s.byUID[uid] }

// Search returns the boards whose title holds the text, in any case, and that
// carry every one of the tags, ordered by title.
func (s *Boards) Search(text string, tags []string) []*Board {
	var hits []*Board
	text = strings.ToLower(text)
	for _, b := range s.list {
		if !strings.Contains(strings.ToLower(b.Title), text) {
			continue
		}
		if slices.ContainsFunc(tags, func(t string) bool { return !slices.Contains(b.Tags, t) }) {
			continue
		}
		hits = append(hits, b)
	}
	return hits
}
