//go:build !linux

package memory

// ForgetProgram does nothing on this system.
func ForgetProgram() error { return nil }

// FineProgram does nothing on this system.
func FineProgram() error { return nil }
