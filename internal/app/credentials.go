package app

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// credentials is an access key as kept in a file of the AWS shared-credentials
// format, profile default.
type credentials struct {
	AccessKey, SecretKey string
}

// readCredentials returns the default profile of a shared-credentials file. A
// file that is not there is reported as fs.ErrNotExist.
func readCredentials(file string) (credentials, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return credentials{}, err
	}
	var c credentials
	profile := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[' && line[len(line)-1] == ']':
			profile = strings.TrimSpace(line[1 : len(line)-1])
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return credentials{}, fmt.Errorf("%s:%d: neither [profile] nor key = value", file, n)
		}
		if profile != "default" {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "aws_access_key_id":
			c.AccessKey = strings.TrimSpace(value)
		case "aws_secret_access_key":
			c.SecretKey = strings.TrimSpace(value)
		}
	}
	if c.AccessKey == "" || c.SecretKey == "" {
		return credentials{}, fmt.Errorf("%s: profile [default] needs aws_access_key_id and aws_secret_access_key", file)
	}
	return c, lines.Err()
}

// writeCredentials writes the file so that it is either whole or not there, and
// readable by its owner only.
func writeCredentials(file string, c credentials) (err error) {
	text := fmt.Sprintf("# Written by mangru. Who can read this file may do everything here.\n"+
		"[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", c.AccessKey, c.SecretKey)
	tmp, err := os.CreateTemp(filepath.Dir(file), ".credentials-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write credentials: %w", err), os.Remove(tmp.Name()))
		}
	}()
	if _, err := tmp.WriteString(text); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

// isMissing reports that a file is not there.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
