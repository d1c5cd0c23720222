package provision

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Provider is a directory that boards come from, as Grafana's provisioning files
// describe it.
type Provider struct {
	Name      string
	Folder    string
	FolderUID string
	// Path is the directory; boards are its *.json files, at any depth.
	Path string
	// Nested makes a folder of each directory below Path.
	Nested bool
	// Editable lets people save the boards; a changed file then wins again.
	Editable bool
	// Keep leaves boards whose file is gone.
	Keep bool
	// Every is the time between two looks at the directory.
	Every time.Duration
}

// defaultEvery is Grafana's.
const defaultEvery = 10 * time.Second

// providerFile is the form of Grafana's provisioning/dashboards/*.yaml.
type providerFile struct {
	APIVersion int             `yaml:"apiVersion"`
	Providers  []providerEntry `yaml:"providers"`
}

type providerEntry struct {
	Name                  string          `yaml:"name"`
	OrgID                 int64           `yaml:"orgId"`
	OrgName               string          `yaml:"org_name"`
	Type                  string          `yaml:"type"`
	Folder                string          `yaml:"folder"`
	FolderUID             string          `yaml:"folderUid"`
	Editable              *bool           `yaml:"editable"` // of Grafana 4; means nothing
	DisableDeletion       bool            `yaml:"disableDeletion"`
	AllowUIUpdates        bool            `yaml:"allowUiUpdates"`
	UpdateIntervalSeconds int64           `yaml:"updateIntervalSeconds"`
	Options               providerOptions `yaml:"options"`
}

type providerOptions struct {
	Path   string `yaml:"path"`
	Folder string `yaml:"folder"` // older name of path
	Nested bool   `yaml:"foldersFromFilesStructure"`
}

// ReadProviders reads every *.yaml and *.yml file of a directory. A directory
// without any is itself one provider whose directories are folders.
func ReadProviders(dir string) ([]Provider, error) {
	names, err := fs.Glob(os.DirFS(dir), "*.y*ml")
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, errors.Join(err, fmt.Errorf("%s: want a directory", dir))
	}
	if len(names) == 0 {
		return []Provider{{Name: "files", Path: dir, Nested: true, Every: defaultEvery}}, nil
	}
	var all []Provider
	seen := map[string]string{}
	for _, name := range names {
		file := filepath.Join(dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		list, err := parseProviders(file, text)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			if other := seen[p.Name]; other != "" {
				return nil, fmt.Errorf("%s: provider name %q is taken by %s", file, p.Name, other)
			}
			seen[p.Name] = file
			all = append(all, p)
		}
	}
	return all, nil
}

func parseProviders(file string, text []byte) ([]Provider, error) {
	var f providerFile
	dec := yaml.NewDecoder(bytes.NewReader([]byte(expandEnv(string(text)))))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var all []Provider
	for i, e := range f.Providers {
		p, err := e.provider(filepath.Dir(file))
		if err != nil {
			return nil, fmt.Errorf("%s: providers[%d].%w", file, i, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// expandEnv puts variables of the environment into ${NAME} and $NAME, as
// Grafana does; $$ stays a dollar.
func expandEnv(text string) string {
	return os.Expand(text, func(name string) string {
		if name == "$" {
			return "$"
		}
		return os.Getenv(name)
	})
}

func (e providerEntry) provider(base string) (Provider, error) {
	dir := e.Options.Path
	if dir == "" {
		dir = e.Options.Folder
	}
	switch {
	case e.Name == "":
		return Provider{}, errors.New("name: is missing")
	case e.Type != "" && e.Type != "file":
		return Provider{}, fmt.Errorf("type: found %q, allowed is file", e.Type)
	case e.OrgID > 1:
		return Provider{}, fmt.Errorf("orgId: found %d, allowed is 1", e.OrgID)
	case dir == "":
		return Provider{}, errors.New("options.path: is missing")
	case e.Options.Nested && (e.Folder != "" || e.FolderUID != ""):
		return Provider{}, errors.New("folder: must be empty with options.foldersFromFilesStructure")
	case e.UpdateIntervalSeconds < 0:
		return Provider{}, fmt.Errorf("updateIntervalSeconds: found %d, allowed are 0 (the default, 10) and more", e.UpdateIntervalSeconds)
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(base, dir)
	}
	p := Provider{
		Name: e.Name, Folder: e.Folder, FolderUID: e.FolderUID, Path: dir, Nested: e.Options.Nested, Editable: e.AllowUIUpdates, Keep: e.DisableDeletion,
		Every: time.Duration(e.UpdateIntervalSeconds) * time.Second,
	}
	if p.Every == 0 {
		p.Every = defaultEvery
	}
	return p, nil
}

// maxFiles bounds what one provider may bring.
const maxFiles = 10_000

// files reads a provider's boards.
func (p Provider) files() ([]File, error) {
	var all []File
	err := filepath.WalkDir(p.Path, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		// What a mounted ConfigMap keeps beside its files begins with two dots.
		case e.IsDir() && strings.HasPrefix(e.Name(), "..") && name != p.Path:
			return filepath.SkipDir
		case e.IsDir() || !strings.HasSuffix(e.Name(), ".json"):
			return nil
		case len(all) == maxFiles:
			return fmt.Errorf("%s has more than %d boards", p.Path, maxFiles)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(p.Path, name)
		if err != nil {
			return err
		}
		f := File{Name: filepath.ToSlash(rel), Text: text, FolderUID: p.FolderUID}
		if p.Folder != "" {
			f.Folder = []string{p.Folder}
		}
		if dir := path.Dir(f.Name); p.Nested && dir != "." {
			f.Folder = strings.Split(dir, "/")
		}
		all = append(all, f)
		return nil
	})
	slices.SortFunc(all, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}
