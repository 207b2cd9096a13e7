package process

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// killTime bounds the wait after SIGKILL: who is not gone then hangs in the
// kernel.
const killTime = 5 * time.Second

// A handle is a process that cannot be mistaken for a later one of its number.
type handle struct {
	found
	fd int
}

// hold opens p; false if it is gone.
func (d *Driver) hold(p found) (handle, bool, error) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return handle{}, false, nil
	}
	if err != nil {
		return handle{}, false, fmt.Errorf("pidfd of %d: %w", p.pid, err)
	}
	// The number may have gone to another process since the scan.
	if now, ok := d.look(p.pid, make([]byte, 4096)); !ok || now.id != p.id || now.since != p.since {
		_ = unix.Close(fd)
		return handle{}, false, nil
	}
	return handle{p, fd}, true, nil
}

// stop ends the processes of list: those that started the others by SIGTERM,
// and what is left after the grace by SIGKILL. It returns when all are gone.
func (d *Driver) stop(list []found) error {
	var all, first []handle
	defer func() {
		for _, h := range all {
			_ = unix.Close(h.fd)
		}
	}()
	top := map[int]bool{}
	for _, p := range tops(list) {
		top[p.pid] = true
	}
	for _, p := range list {
		h, ok, err := d.hold(p)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		all = append(all, h)
		if top[p.pid] {
			first = append(first, h)
		}
		d.expect(p.pid)
	}
	if err := signal(first, unix.SIGTERM); err != nil {
		return err
	}
	if err := signal(first, unix.SIGCONT); err != nil { // one that somebody stopped would not hear it
		return err
	}
	if wait(first, d.grace) && wait(all, d.grace/10) {
		return nil
	}
	if err := signal(all, unix.SIGKILL); err != nil {
		return err
	}
	if wait(all, killTime) {
		return nil
	}
	for _, h := range all {
		if !wait([]handle{h}, 0) {
			return fmt.Errorf("pid %d does not end, %v after SIGKILL", h.pid, killTime)
		}
	}
	return nil
}

// signal sends sig to those of list that are still there.
func signal(list []handle, sig unix.Signal) error {
	for _, h := range list {
		if err := unix.PidfdSendSignal(h.fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal pid %d: %w", h.pid, err)
		}
	}
	return nil
}

// wait returns true once all of list are gone, false after the time given.
func wait(list []handle, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for _, h := range list {
		for {
			left := max(0, time.Until(deadline))
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}, int((left+time.Millisecond-1)/time.Millisecond))
			if n > 0 {
				break
			}
			if err != nil && !errors.Is(err, unix.EINTR) || left == 0 {
				return false
			}
		}
	}
	return true
}

// reload sends p the signal by which it reads its files again.
func reload(p found, name string) error {
	if name == "" {
		return nil
	}
	sig, ok := map[string]unix.Signal{"HUP": unix.SIGHUP, "USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2}[name]
	if !ok {
		return fmt.Errorf("signal %q is none that reloads", name)
	}
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd of %d: %w", p.pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if s, ok := statOf(p.pid); !ok || s.since != p.since {
		return fmt.Errorf("pid %d is gone", p.pid)
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}
