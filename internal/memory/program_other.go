//go:build !linux

package memory

// ForgetProgram does nothing on this system.
func ForgetProgram() error { return nil }

// FineConstants does nothing on this system.
func FineConstants() error { return nil }
