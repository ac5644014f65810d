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

// RefusesWrites reports whether an error says that Redis answers and takes no writes:
// its memory is full, its disk fails, its replicas are away, or it is one itself.
func RefusesWrites(err error) bool {
	for _, prefix := range []string{"OOM", "MISCONF", "NOREPLICAS", "READONLY"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// oneOf returns one error for many that are likely alike, one per shard: the first
// that waiting does not mend, else the first; with how many more there are.
func oneOf(errs []error) error {
	var first error
	n := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		n++
		if first == nil || Temporary(first) && !Temporary(err) {
			first = err
		}
	}
	if n < 2 {
		return first
	}
	return fmt.Errorf("%w (and %d more)", first, n-1)
}
