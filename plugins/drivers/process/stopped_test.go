package process

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// One that somebody stopped (SIGSTOP) hears that it shall end, instead of being killed
// once its time is over.
func TestStoppedEndsWell(t *testing.T) {
	w := newWorld(t)
	said := filepath.Join(t.TempDir(), "said")
	p := shell("a", "trap 'echo bye >"+said+"; exit 0' TERM; echo up; while :; do sleep 0.02; done")
	must(t, w.make(p))
	w.until("it runs", func() bool {
		b, _ := os.ReadFile(w.driver().logPath("a"))
		return strings.HasPrefix(string(b), "up\n")
	})
	must(t, syscall.Kill(w.pid("a"), syscall.SIGSTOP))
	must(t, w.drop(p))
	if b, err := os.ReadFile(said); err != nil || string(b) != "bye\n" {
		t.Errorf("it said %q, %v", b, err)
	}
}
