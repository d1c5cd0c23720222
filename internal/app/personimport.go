package app

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// csvColumns are what a file of people may have; those of the first four are
// required.
var csvColumns = []string{"username", "email", "given_name", "family_name", "display_name", "groups"}

const csvRequired = 4

func newPersonImportCmd(f *awsFlags) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{Use: "import FILE", Short: "Add people and groups from a CSV file, - for standard input",
		Long: "The first line names the columns: username, email, given_name, family_name and, as you like, display_name and\n" +
			"groups (names joined by ';'). The whole file is checked first. People and groups that are there stay as they are;\n" +
			"memberships that are missing are added. So a file can be imported again.",
		Args: exactly("a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			rows, err := readPeople(cmd, args[0])
			if err != nil {
				return err
			}
			if dryRun {
				return f.done(cmd, map[string]int{"People": len(rows)}, "%s is good: %d people", args[0], len(rows))
			}
			c, err := f.people(cmd.Context())
			if err != nil {
				return err
			}
			im := importer{c: c, groups: make(map[string]string)}
			for _, r := range rows {
				if err := im.add(cmd.Context(), r); err != nil {
					return fmt.Errorf("%s:%d: %w (%d people before this line are done; import the file again to go on)", args[0], r.line, err, im.Created+im.Present)
				}
			}
			return f.done(cmd, im.importResult, "%d people created, %d were there, %d groups created, %d memberships added",
				im.Created, im.Present, im.GroupsCreated, im.MembershipsAdded)
		}}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only check the file")
	return c
}

type csvPerson struct {
	newPerson
	groups []string
	line   int
}

func readPeople(cmd *cobra.Command, file string) ([]csvPerson, error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef("%w", err)
		}
		defer func() { _ = f.Close() }() // it is only read
		in = f
	}
	rows, err := parsePeople(in)
	if err != nil {
		return nil, usagef("%s:%w", file, err)
	}
	return rows, nil
}

// parsePeople reads a CSV file. Errors begin with the line.
func parsePeople(in io.Reader) ([]csvPerson, error) {
	r := csv.NewReader(in)
	r.TrimLeadingSpace = true
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("1: the file is empty, expected a line with the columns %s", strings.Join(csvColumns, ","))
	}
	if err != nil {
		return nil, csvError(err)
	}
	at, err := csvHead(head)
	if err != nil {
		return nil, err
	}
	var rows []csvPerson
	seen := make(map[string]int)
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, csvError(err)
		}
		line, _ := r.FieldPos(0)
		get := func(name string) string {
			if i, ok := at[name]; ok {
				return strings.TrimSpace(rec[i])
			}
			return ""
		}
		for _, name := range csvColumns[:csvRequired] {
			if get(name) == "" {
				return nil, fmt.Errorf("%d: column %s is empty", line, name)
			}
		}
		p := csvPerson{line: line, newPerson: newPerson{userName: get("username"), email: get("email"), given: get("given_name"), family: get("family_name"), display: get("display_name")}}
		for _, g := range strings.Split(get("groups"), ";") {
			if g = strings.TrimSpace(g); g != "" {
				p.groups = append(p.groups, g)
			}
		}
		if first, dup := seen[strings.ToLower(p.userName)]; dup {
			return nil, fmt.Errorf("%d: username %q is in line %d already", line, p.userName, first)
		}
		seen[strings.ToLower(p.userName)] = line
		rows = append(rows, p)
	}
}

func csvError(err error) error {
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		return fmt.Errorf("%d: column %d: %w", bad.Line, bad.Column, bad.Err)
	}
	return fmt.Errorf("1: %w", err)
}

func csvHead(head []string) (map[string]int, error) {
	at := make(map[string]int)
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if !slices.Contains(csvColumns, name) {
			return nil, fmt.Errorf("1: column %d: found %q, allowed are %s", i+1, name, strings.Join(csvColumns, ", "))
		}
		if _, dup := at[name]; dup {
			return nil, fmt.Errorf("1: column %d: %q is there twice", i+1, name)
		}
		at[name] = i
	}
	for _, name := range csvColumns[:csvRequired] {
		if _, ok := at[name]; !ok {
			return nil, fmt.Errorf("1: column %s is missing, found %s", name, strings.Join(head, ", "))
		}
	}
	return at, nil
}

type importResult struct{ Created, Present, GroupsCreated, MembershipsAdded int }

type importer struct {
	importResult
	c      *peopleClient
	groups map[string]string // name to id
}

func (im *importer) add(ctx context.Context, p csvPerson) error {
	id, err := im.c.createPerson(ctx, p.newPerson)
	switch {
	case isCode(err, "ConflictException"):
		// The name may be there; an address of somebody else's may not.
		if id, err = im.c.personID(ctx, p.userName); err != nil {
			return fmt.Errorf("the address %s is another person's: %w", p.email, err)
		}
		im.Present++
	case err != nil:
		return err
	default:
		im.Created++
	}
	for _, name := range p.groups {
		g, err := im.group(ctx, name)
		if err != nil {
			return err
		}
		err = im.c.identityStore(ctx, "CreateGroupMembership", map[string]any{"GroupId": g, "MemberId": map[string]any{"UserId": id}}, nil)
		switch {
		case isCode(err, "ConflictException"):
		case err != nil:
			return err
		default:
			im.MembershipsAdded++
		}
	}
	return nil
}

func (im *importer) group(ctx context.Context, name string) (string, error) {
	if id := im.groups[name]; id != "" {
		return id, nil
	}
	id, err := im.c.createGroup(ctx, name, "")
	switch {
	case isCode(err, "ConflictException"):
		id, err = im.c.groupID(ctx, name)
	case err == nil:
		im.GroupsCreated++
	}
	im.groups[name] = id
	return id, err
}
