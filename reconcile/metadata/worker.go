package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What one guest, and all of them, may have open at a time.
const (
	maxOfOne = 16
	maxOfAll = 1024
)

// work serves the listeners that it was given until the keeper is gone. kinds has a
// letter for each, m for metadata and p for passwords; they start at descriptor 3.
// What there is to tell comes in on stdin, who took its password goes out on stdout.
func work(kinds string) error {
	// Other processes of nobody, such as the dnsmasq of another router, must not read its memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close its memory to others: %w", err)
	}
	said := json.NewEncoder(os.Stdout)
	var mu sync.Mutex
	b := &board{taken: func(g Guest) {
		mu.Lock()
		defer mu.Unlock()
		_ = said.Encode(taken{g.ID, markOf(g.Password)}) // without a keeper there is no worker for long
	}}
	news := json.NewDecoder(os.Stdin)
	next := func() error {
		var list []*Guest
		err := news.Decode(&list)
		if err == nil {
			b.put(list)
		}
		return err
	}
	if err := next(); err != nil {
		return fmt.Errorf("what to tell: %w", err)
	}
	for i, kind := range kinds {
		f := os.NewFile(uintptr(3+i), "listener")
		l, err := net.FileListener(f)
		if err != nil {
			return fmt.Errorf("listener %d: %w", i, err)
		}
		_ = f.Close()
		answer := b.metadata
		if kind == 'p' {
			answer = b.password
		}
		go serve(l, answer)
	}
	for {
		if err := next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("what to tell: %w", err)
		}
	}
}

func serve(l net.Listener, answer http.HandlerFunc) {
	s := http.Server{
		Handler:           answer,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 5 * time.Second,
		MaxHeaderBytes: 8 << 10,
	}
	fmt.Fprintln(os.Stderr, "metadata:", s.Serve(&fair{Listener: l, of: map[netip.Addr]int{}}))
	os.Exit(1)
}

// fair is a listener that lets no guest have more connections than its share.
type fair struct {
	net.Listener
	mu  sync.Mutex
	of  map[netip.Addr]int
	all int
}

// Accept implements net.Listener.
func (f *fair) Accept() (net.Conn, error) {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, _ := netip.ParseAddrPort(c.RemoteAddr().String())
		if f.enter(from.Addr()) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { f.leave(from.Addr()) })}, nil
		}
		_ = c.Close()
	}
}

func (f *fair) enter(from netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of[from] >= maxOfOne || f.all >= maxOfAll {
		return false
	}
	f.of[from]++
	f.all++
	return true
}

func (f *fair) leave(from netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all--; f.of[from] == 1 {
		delete(f.of, from)
		return
	}
	f.of[from]--
}

type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
