//go:build unix && !linux

package redisserver

import "syscall"

// dieWithParent keeps a Ctrl-C for the parent from reaching the child. The kernel
// offers no more here: a parent that is killed with SIGKILL leaves its child.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
