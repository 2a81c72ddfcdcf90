package devicetest

import (
	"slices"
	"testing"
)

// scope is a part of a test with its own cleanups: one seed, or one goroutine, as Bind wants it.
type scope struct {
	testing.TB
	exit     func() // how a failure ends it
	cleanups []func()
}

// overSeeds runs a part of a test for each seed.
func overSeeds(t testing.TB, n int, f func(t testing.TB, seed uint64)) {
	for seed := range uint64(n) {
		func() {
			s := &scope{TB: t, exit: t.FailNow}
			defer s.end()
			f(s, seed)
		}()
	}
}

// Cleanup runs f when the scope ends.
func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// Fatal ends the scope.
func (s *scope) Fatal(args ...any) {
	s.Helper()
	s.Error(args...)
	s.exit()
}

// Fatalf ends the scope.
func (s *scope) Fatalf(format string, args ...any) {
	s.Helper()
	s.Errorf(format, args...)
	s.exit()
}

func (s *scope) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}
