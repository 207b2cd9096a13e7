// Package process is the driver of resources of kind "process": daemons that
// outlive the agent.
//
// In go steps; out come processes, each in its namespace and its own session,
// with marks in its environment by which any later agent recognises it. While
// the agent lives it is their parent and reaps them, afterwards PID 1 does.
// The agent's wiring imports it.
package process

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// A Driver keeps processes. Make one with New.
type Driver struct {
	host  *host.Host
	run   string // what "{run}" stands for
	logs  string
	weft  string // what "{weft}" stands for
	marks *host.Marks
	grace time.Duration // from SIGTERM to SIGKILL
	alive time.Duration // a start without sockets counts once it lived so long

	poke chan struct{} // tells Watch that there is more in started

	busy atomic.Int32 // calls of Do

	mu       sync.Mutex
	watching bool
	stopping map[int]bool // processes whose end Watch must not report
	started  []int        // processes that Watch is to take up
	watched  map[int]bool // those that it has
}

// New returns the driver of h's processes.
func New(h *host.Host) *Driver {
	self, err := os.Executable()
	if err != nil {
		self = "weft" // as it is called
	}
	return &Driver{
		weft: self,
		host: h, run: filepath.Join(h.RunDir, "files"), logs: filepath.Join(h.RunDir, "log"), marks: h.Marks("process"),
		grace: 5 * time.Second, alive: 500 * time.Millisecond,
		poke: make(chan struct{}, 1), stopping: map[int]bool{},
	}
}

// Kinds implements driver.Driver.
func (*Driver) Kinds() []resource.Kind { return []resource.Kind{resource.KindProcess} }

// Epoch implements driver.Driver: it cannot tell.
func (*Driver) Epoch(context.Context, driver.Scope) (uint64, bool) { return 0, false }

// mark is what is remembered of a process beside its environment: what was
// asked for at its start, and what it loaded since.
type mark struct {
	Process resource.Process `json:"process"` // Load is what was loaded last
	Owner   resource.Owner   `json:"owner"`
	Loaded  time.Time        `json:"loaded"`
	Index   int              `json:"index,omitempty"` // of Process.Device at its start; 0 if not known
}

func markKey(name string) string { return host.KeptKey(name) }

// stale says whether a file that the process reads was written after it was
// loaded. Somebody may have had it loaded then.
func (d *Driver) stale(m *mark) bool { return d.written(m.Process).After(m.Loaded) }

// written is when a file that p reads was written last.
func (d *Driver) written(p resource.Process) time.Time {
	var last time.Time
	for _, id := range p.After {
		if id.Kind != resource.KindFile {
			continue
		}
		if info, err := os.Lstat(filepath.Join(d.run, id.Name)); err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// now is the time, or that of p's files where the clock was set back since.
func (d *Driver) now(p resource.Process) time.Time {
	now, last := time.Now(), d.written(p)
	if last.After(now) {
		return last
	}
	return now
}

// mark reads the mark of the process called name.
func (d *Driver) mark(name string) (mark, bool) {
	var m mark
	ok := d.marks.Load(markKey(name), &m) && m.Process.Name == name
	return m, ok
}

func (d *Driver) logPath(name string) string { return filepath.Join(d.logs, markKey(name)+".log") }

// expand puts into a command line of p what its words in braces stand for.
func (d *Driver) expand(p resource.Process, argv []string) []string {
	words := strings.NewReplacer("{run}", d.run, "{weft}", d.weft, "{state}", d.keptPath(p.Name))
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = words.Replace(a)
	}
	return out
}
