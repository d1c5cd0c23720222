//go:build !linux

package app

import "errors"

// addLocalAddress needs Linux.
func addLocalAddress(string) error { return errors.New("is only possible on Linux") }
