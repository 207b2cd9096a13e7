package drivertest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A watch that tells of its beginning and of nothing else does not pass for one that
// tells.
func TestNotices(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		begin func(noticed chan struct{}, ended chan error)
		harm  func(noticed chan struct{})
		want  answer
	}{
		{"tells", func(chan struct{}, chan error) {}, func(n chan struct{}) { n <- struct{}{} }, change},
		{"tells of its beginning only", func(n chan struct{}, _ chan error) {
			n <- struct{}{}
			time.AfterFunc(10*time.Millisecond, func() { n <- struct{}{} })
		}, func(chan struct{}) {}, nothing},
		{"tells of that too", func(n chan struct{}, _ chan error) { n <- struct{}{} }, func(n chan struct{}) { n <- struct{}{} }, change},
		{"cannot tell", func(_ chan struct{}, e chan error) { e <- nil }, func(chan struct{}) {}, mute},
		{"fails", func(_ chan struct{}, e chan error) { e <- broken }, func(chan struct{}) {}, nothing},
	} {
		synctest.Test(t, func(t *testing.T) {
			noticed, ended := make(chan struct{}, 1), make(chan error, 1)
			c.begin(noticed, ended)
			if got := notices(noticed, ended, func() { c.harm(noticed) }, func() {}); got != c.want {
				t.Errorf("one that %s: got %d, want %d", c.name, got, c.want)
			}
		})
	}
}
