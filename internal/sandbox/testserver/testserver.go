// Package testserver gives tests the Kafka and the Redis that they run on, so that
// one suite runs on any. Two environment variables choose:
//
//	CREDITSTREAM_TEST_KAFKA   unset: the embedded broker, one for each test
//	                          host:port,...: a real one that is there
//	                          container: one of the image CREDITSTREAM_KAFKA_IMAGE
//	CREDITSTREAM_TEST_REDIS   unset: one redis-server, a database for each test
//	                          host:port: a real one that is there; several addresses
//	                          are nodes of one Redis Cluster
//	                          container: one of the image CREDITSTREAM_REDIS_IMAGE
//
// A test never meets what another has left: topics and groups have names of their
// own (Kafka.Name), and a Redis that is there is emptied before each test, so that
// tests on it take turns and packages must be tested one at a time (go test -p 1).
// It must be empty at first, or the test fails: nobody loses balances to a test.
// A server that is missing fails the test, too; nothing is skipped.
package testserver

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	kafkaEnv = "CREDITSTREAM_TEST_KAFKA"
	redisEnv = "CREDITSTREAM_TEST_REDIS"
	// container is the value of either for one that is started.
	container = "container"
)

// Run runs the tests of a package, for its TestMain, and ends what they have had
// started. It returns the exit code.
func Run(m *testing.M) int {
	chosen()
	defer shared.end()
	return m.Run()
}

// process is what the tests of one process share.
type process struct {
	mu      sync.Mutex
	closers []func() // last in, first out
	redis   string   // address of the server that was started
	given   int      // databases of it that tests were given
	test    string   // that has the Redis that is there
	known   bool     // that Redis was empty when the process first had it

	turn sync.Mutex // held by that test
}

var shared process //nolint:gochecknoglobals // a server is started once in a process

func (p *process) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range slices.Backward(p.closers) {
		f()
	}
	p.closers = nil
}

// atEnd has f called when the tests of this process are over.
func (p *process) atEnd(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closers = append(p.closers, f)
}

// take waits until no other test has the Redis that is there, and keeps it until
// the test ends. It reports whether this process had it before.
func (p *process) take(tb testing.TB) (before bool) {
	tb.Helper()
	p.mu.Lock()
	mine := p.test == tb.Name()
	p.mu.Unlock()
	if !mine {
		p.turn.Lock()
		p.hold(tb.Name())
		tb.Cleanup(func() {
			p.hold("")
			p.turn.Unlock()
		})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before, p.known = p.known, true
	return before
}

func (p *process) hold(test string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.test = test
}

// A choice is what the environment says.
type choice struct {
	kafka, redis           []string
	kafkaImage, redisImage string
}

// chosen reads the environment, once, and takes the variables out of it: for a
// command that a test runs they would be settings that it does not know.
//
//nolint:gochecknoglobals // as shared
var chosen = sync.OnceValue(func() choice {
	return choice{
		kafka: addresses(kafkaEnv), redis: addresses(redisEnv),
		kafkaImage: image(kafkaImageEnv, kafkaImage), redisImage: image(redisImageEnv, redisImage),
	}
})

func addresses(env string) []string {
	text := os.Getenv(env)
	_ = os.Unsetenv(env)
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

// beyond returns a context for cleanups, which run after tb's own has ended.
func beyond(tb testing.TB) context.Context {
	tb.Helper()
	return context.WithoutCancel(tb.Context())
}
