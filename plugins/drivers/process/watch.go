package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/driver"
	"weft.dev/reconcile/resource"
)

// trimEvery is how often log files are looked at, settleTime how long marks
// must be left alone before they are compared with what runs.
const (
	trimEvery  = time.Minute
	settleTime = 50 * time.Millisecond
)

// Watch implements driver.Driver: it tells at once when a process of ours ends
// that Do did not stop. What another weft starts it learns from the marks.
func (d *Driver) Watch(ctx context.Context, changed func(driver.Scope)) error {
	scope := driver.Scope{Kinds: []resource.Kind{resource.KindProcess}}
	d.setWatching(true)
	defer d.setWatching(false)
	w := &watch{ended: make(chan int), open: map[int]*os.File{}, done: ctx.Done()}
	defer w.close()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	marks, err := d.watchMarks()
	if err != nil {
		return fmt.Errorf("watch processes: %w", err)
	}
	defer func() { _ = marks.Close() }()
	check := time.NewTimer(0)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-marks.Events:
			if !ok {
				return errors.New("watch processes: inotify ended")
			}
			check.Reset(settleTime)
		case <-marks.Errors: // events were lost
			check.Reset(settleTime)
		case <-check.C:
			missing, err := d.compare(ctx)
			switch {
			case ctx.Err() != nil:
			case errors.Is(err, errBusy):
				check.Reset(settleTime)
			case err != nil:
				return fmt.Errorf("watch processes: %w", err)
			case missing:
				changed(scope)
			}
		case <-d.poke:
			for _, pid := range d.newcomers() {
				if !w.add(pid) && !d.expected(pid) {
					changed(scope)
				}
			}
		case <-trim.C:
			d.trim()
		case pid := <-w.ended:
			w.forget(pid)
			if !d.expected(pid) {
				changed(scope)
			}
		}
	}
}

// errBusy says that Do is at work, so that marks and processes differ.
var errBusy = errors.New("busy")

// watchMarks hears of every process that is started, by whomever.
func (d *Driver) watchMarks() (*fsnotify.Watcher, error) {
	dir := filepath.Join(d.host.RunDir, "marks", "process")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(dir); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// compare takes up every process that runs, and says whether one is missing
// that has a mark.
func (d *Driver) compare(ctx context.Context) (missing bool, err error) {
	all, err := d.scan(ctx)
	if err != nil {
		return false, err
	}
	for _, list := range all {
		for _, p := range tops(list) {
			d.begun(p.pid)
		}
	}
	for _, key := range d.marks.Keys() {
		var m mark
		if d.marks.Load(key, &m) && len(all[m.Process.Name]) == 0 {
			missing = true
		}
	}
	if d.busy.Load() > 0 {
		return false, errBusy
	}
	return missing, nil
}

// A watch waits for the end of processes; the runtime's poller does.
type watch struct {
	ended chan int
	done  <-chan struct{}
	open  map[int]*os.File
}

// add waits for pid; false if it is gone already.
func (w *watch) add(pid int) bool {
	if w.open[pid] != nil {
		return true
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return !errors.Is(err, unix.ESRCH)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	w.open[pid] = f
	go func() {
		conn, err := f.SyscallConn()
		if err != nil {
			return
		}
		err = conn.Read(func(fd uintptr) bool {
			n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0
		})
		if err != nil {
			return // closed
		}
		select {
		case w.ended <- pid:
		case <-w.done:
		}
	}()
	return true
}

func (w *watch) forget(pid int) {
	_ = w.open[pid].Close()
	delete(w.open, pid)
}

func (w *watch) close() {
	for _, f := range w.open {
		_ = f.Close()
	}
}

func (d *Driver) setWatching(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watching = on
	clear(d.stopping)
	d.started, d.watched = nil, map[int]bool{}
}

// expect says that the end of pid is our own doing.
func (d *Driver) expect(pid int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watching {
		d.stopping[pid] = true
	}
}

// begun says that pid runs, started by Do or by another weft.
func (d *Driver) begun(pid int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.watching || d.watched[pid] {
		return
	}
	d.watched[pid] = true
	d.started = append(d.started, pid)
	select {
	case d.poke <- struct{}{}:
	default: // it has not looked since the last one
	}
}

// newcomers are the processes that were begun since it was asked last.
func (d *Driver) newcomers() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.started
	d.started = nil
	return out
}

// expected asks that once.
func (d *Driver) expected(pid int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.stopping[pid]
	delete(d.stopping, pid)
	delete(d.watched, pid)
	return out
}
