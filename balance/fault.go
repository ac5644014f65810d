package balance

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// A fault is something wrong with what is stored or answered, not with the way
// there: waiting does not help.
type fault struct{ err error }

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func faultf(format string, a ...any) error { return &fault{fmt.Errorf(format, a...)} }

// Temporary reports whether an error of Redis is worth waiting for: the server or
// the way to it is away, or refuses writes for now. It is the one place that
// decides so; any other error of a script is a fault of ours and stops the worker.
func Temporary(err error) bool {
	if err == nil {
		return false
	}
	var f *fault
	if errors.As(err, &f) || errors.Is(err, ErrMismatch) || errors.Is(err, ErrUnknownAccount) {
		return false
	}
	for _, prefix := range []string{
		"LOADING", "READONLY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "ASK", "MOVED", "MISCONF",
		"NOREPLICAS", "OOM", "BUSY", "NOSCRIPT", "UNKILLABLE",
	} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	var server redis.Error
	return !errors.As(err, &server) // what Redis did not say came from the network
}
