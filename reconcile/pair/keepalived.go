package pair

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keepalived runs the daemon and writes down what it decides. Should it end without
// having let go of its addresses, its next start does.
func (s *service) keepalived() error {
	if err := s.prepare(); err != nil {
		return err
	}
	conf, err := s.expand(s.dir())
	if err != nil {
		return err
	}
	fifo := filepath.Join(s.dir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		return fmt.Errorf("make %s: %w", fifo, err)
	}
	// Written to as well, or it would end whenever the daemon does.
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	told := make(chan string, 64)
	go func() {
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			told <- lines.Text()
		}
	}()
	s.argv = []string{
		"keepalived", "--dont-fork", "--log-console", "--use-file", conf,
		"--pid", filepath.Join(s.dir(), "pid"), "--vrrp_pid", filepath.Join(s.dir(), "vrrp.pid"),
	}
	h, err := open(s.state)
	if err != nil {
		return err
	}
	if err := h.stopped(time.Now()); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	return s.watch(func(line string) error {
		st, ok := parse(line)
		if !ok {
			return nil
		}
		if err := h.add(Change{Time: time.Now(), State: st}); err != nil { // a full disk is no reason to let go of anything
			fmt.Fprintln(os.Stderr, "what the router became is not written down:", err)
		}
		return nil
	}, told, func() error {
		_, err := s.expand(s.dir())
		if err == nil && s.pid != 0 {
			err = syscall.Kill(s.pid, syscall.SIGHUP)
		}
		return err
	})
}

// watch serves until it is told to end: it starts the daemon again, passes on that its
// files changed, and hears what is told.
func (s *service) watch(hear func(string) error, told <-chan string, reload func() error) error {
	for {
		var err error
		select {
		case line := <-told:
			err = hear(line)
		case <-s.pause:
			err = s.start()
		case sig := <-s.signals:
			switch sig {
			case syscall.SIGTERM, syscall.SIGINT:
				err := s.stop()
				return errors.Join(err, hear(""))
			case syscall.SIGHUP:
				err = reload()
			case syscall.SIGCHLD:
				if s.reap() {
					err = errors.Join(heard(told, hear), hear(""), s.again())
				}
			}
		}
		if err != nil {
			return errors.Join(err, s.stop(), hear(""))
		}
	}
}

// heard hears what was told before the daemon ended, so that it is not taken for news.
func heard(told <-chan string, hear func(string) error) error {
	for {
		select {
		case line := <-told:
			if err := hear(line); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// parse reads a line of keepalived's, INSTANCE "NAME" STATE PRIORITY; the empty line
// stands for its end.
func parse(line string) (State, bool) {
	if line == "" {
		return Stopped, true
	}
	words := strings.Fields(line)
	if len(words) < 3 || words[0] != "INSTANCE" {
		return "", false
	}
	switch strings.Trim(words[2], `"`) {
	case "MASTER":
		return Primary, true
	case "BACKUP":
		return Backup, true
	case "FAULT":
		return Fault, true
	case "STOP":
		return Stopped, true
	}
	return "", false
}
