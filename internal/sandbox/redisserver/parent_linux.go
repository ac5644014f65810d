package redisserver

import "syscall"

// dieWithParent has the kernel end the child when the thread that started it ends,
// and keeps a Ctrl-C for the parent from reaching it.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
