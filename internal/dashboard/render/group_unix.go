//go:build unix

package render

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the browser and what it starts into a group that ends together.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
