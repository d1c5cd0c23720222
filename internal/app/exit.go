package app

// ExitError is an error that says with which code the program ends.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the error behind the code.
func (e *ExitError) Unwrap() error { return e.Err }
