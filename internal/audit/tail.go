package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// maxTail bounds how much of the present file Tail looks at, in bytes.
const maxTail = 8 << 20

// Tail returns up to most lines at the end of the present file of a log that
// contain text, whatever its case, newest first, each a JSON object. Rotated
// files are not looked at. A file that is not there yet has no lines.
func Tail(name, text string, most int) ([]json.RawMessage, error) {
	f, err := os.Open(name) // #nosec G304 -- the log's own
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	from := max(0, info.Size()-maxTail)
	all, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	if from > 0 {
		_, all, _ = bytes.Cut(all, []byte("\n")) // the rest of a line
	}
	var out []json.RawMessage
	lines, want := bytes.Split(all, []byte("\n")), bytes.ToLower([]byte(text))
	for _, line := range slices.Backward(lines) {
		if len(out) == most {
			break
		}
		// The last one may be half written.
		if bytes.Contains(bytes.ToLower(line), want) && json.Valid(line) {
			out = append(out, slices.Clone(json.RawMessage(line)))
		}
	}
	return out, nil
}
