package pair

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// here reports whether the link has the address.
func (s *service) here() (bool, error) {
	links, err := net.Interfaces()
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(links, func(l net.Interface) bool { return l.Name == s.link })
	if i < 0 {
		return false, nil
	}
	list, err := links[i].Addrs()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(a net.Addr) bool { return a.String() == s.address.String() }), nil
}

// A presence is whether something is there. While that cannot be read it is taken to
// be as it was, and again says when to look once more.
type presence struct {
	look  func() (bool, error)
	is    bool
	again <-chan time.Time
}

// lookAgain is the pause after a look that failed, and before the next wait for news.
const lookAgain = 200 * time.Millisecond

func (p *presence) now() bool {
	is, err := p.look()
	if err == nil {
		p.is, p.again = is, nil
		return is
	}
	if p.again == nil { // once for all that follow
		fmt.Fprintln(os.Stderr, "addresses cannot be read:", err)
	}
	p.again = time.After(lookAgain)
	return p.is
}

// news tells whenever an address of the namespace may have come or gone.
func news() (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("hear of addresses: %w", err)
	}
	groups := uint32(unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_LINK)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, fmt.Errorf("hear of addresses: %w", err)
	}
	c := make(chan struct{}, 1)
	go func() {
		b := make([]byte, 1<<16)
		for {
			// What is said does not matter, nor that some of it was lost (ENOBUFS). Where
			// nothing can be heard, looking now and then has to do.
			if _, _, err := unix.Recvfrom(fd, b, 0); err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOBUFS) {
				time.Sleep(lookAgain)
			}
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}()
	return c, nil
}

// whileAddress runs the command while the link has the address.
func (s *service) whileAddress() error {
	if err := s.prepare(); err != nil {
		return err
	}
	changed, err := news()
	if err != nil {
		return err
	}
	at := presence{look: s.here}
	for {
		switch here := at.now(); {
		case here && s.pid == 0 && s.pause == nil:
			err = s.start()
		case !here && (s.pid != 0 || s.pause != nil):
			s.failed = 0
			err = s.stop()
		}
		if err != nil {
			return errors.Join(err, s.stop())
		}
		select {
		case <-changed:
		case <-at.again:
		case <-s.pause:
			s.pause = nil
		case sig := <-s.signals:
			switch sig {
			case syscall.SIGTERM, syscall.SIGINT:
				return s.stop()
			case syscall.SIGCHLD:
				if s.reap() {
					err = s.again()
				}
			default:
				if n, ok := sig.(syscall.Signal); ok && s.pid != 0 {
					_ = syscall.Kill(s.pid, n) // it ended: SIGCHLD says so
				}
			}
		}
		if err != nil {
			return errors.Join(err, s.stop())
		}
	}
}

// conntrackd runs the daemon that tells the other router of connections. What it
// learned of the other one it passes on only once it is told to: so when the address
// comes it takes all that the kernel has for its own, and sends it.
func (s *service) conntrackd() error {
	if err := s.prepare(); err != nil {
		return err
	}
	conf, err := s.expand(s.dir())
	if err != nil {
		return err
	}
	s.argv = []string{"conntrackd", "-C", conf}
	changed, err := news()
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	told := make(chan string)
	go func() {
		at := presence{look: s.here}
		for was := at.now(); ; {
			select {
			case <-changed:
			case <-at.again:
			}
			now := at.now()
			if now && !was {
				told <- "primary"
			}
			was = now
		}
	}()
	return s.watch(func(line string) error {
		if line != "primary" || s.pid == 0 {
			return nil
		}
		for _, what := range []string{"-R", "-B"} {
			cmd := exec.Command("conntrackd", "-C", filepath.Join(s.dir(), "conf"), what)
			cmd.Dir = s.dir() // where its socket is
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "conntrackd %s: %v: %s\n", what, err, out) // the next change tells more
			}
		}
		return nil
	}, told, func() error { return nil })
}
