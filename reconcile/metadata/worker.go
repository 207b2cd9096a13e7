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
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What one guest, all of one port, and all together may have open at a time.
const (
	maxOfOne = 16
	maxOfAll = 512
	maxOpen  = 16384
)

// A worker is one call of the program that serves.
type worker struct {
	mu     sync.Mutex
	boards map[string]*board
	ports  map[uint64]*http.Server

	said   *json.Encoder
	saying sync.Mutex
	open   atomic.Int64 // connections
}

// work serves what it is given until the keeper is gone. Ports come in at descriptor
// 3, what there is to tell on stdin; who took its password goes out on stdout.
func work() error {
	// Other processes of nobody, such as the dnsmasq of a router, must not read its memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close its memory to others: %w", err)
	}
	w := &worker{boards: map[string]*board{}, ports: map[uint64]*http.Server{}, said: json.NewEncoder(os.Stdout)}
	go func() {
		fmt.Fprintln(os.Stderr, "metadata: ports:", w.take(3))
		os.Exit(1)
	}()
	news := json.NewDecoder(os.Stdin)
	for {
		var t told
		if err := news.Decode(&t); errors.Is(err, io.EOF) {
			os.Exit(0) // whatever is being served
		} else if err != nil {
			return fmt.Errorf("what to tell: %w", err)
		}
		w.put(t)
	}
}

func (w *worker) put(t told) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.boards[t.Side]
	switch {
	case t.Gone:
		if b != nil {
			b.put(nil)
		}
		delete(w.boards, t.Side)
		return
	case b == nil:
		b = &board{taken: func(g Guest) { w.say(taken{t.Side, g.ID, markOf(g.Password)}) }}
		w.boards[t.Side] = b
	}
	b.put(t.Guests)
}

func (w *worker) say(t taken) {
	w.saying.Lock()
	defer w.saying.Unlock()
	_ = w.said.Encode(t) // without a keeper there is no worker for long
}

// take takes over ports, and closes them, as the keeper says.
func (w *worker) take(from int) error {
	b, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	for {
		n, oob, _, _, err := unix.Recvmsg(from, b, rights, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
		var h handed
		if err := json.Unmarshal(b[:n], &h); err != nil {
			return err
		}
		if h.Close {
			w.shut(h.ID)
			continue
		}
		l, err := listener(rights[:oob])
		if err != nil {
			return err
		}
		w.serve(h, l)
	}
}

// listener is the port that came with a message.
func listener(rights []byte) (net.Listener, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("no port came along: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("no port came along: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "listener")
	defer func() { _ = f.Close() }()
	return net.FileListener(f)
}

func (w *worker) shut(id uint64) {
	w.mu.Lock()
	s := w.ports[id]
	delete(w.ports, id)
	w.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
}

// serve answers at a port. What there is to tell at its side may come a moment later.
func (w *worker) serve(h handed, l net.Listener) {
	answer := func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		b := w.boards[h.Side]
		w.mu.Unlock()
		switch {
		case b == nil:
			http.Error(rw, "not yet", http.StatusServiceUnavailable)
		case h.Kind == kindPasswords:
			b.password(rw, r)
		default:
			b.metadata(rw, r)
		}
	}
	s := &http.Server{
		Handler:           http.HandlerFunc(answer),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 5 * time.Second,
		MaxHeaderBytes: 8 << 10,
	}
	w.mu.Lock()
	w.ports[h.ID] = s
	w.mu.Unlock()
	go func() {
		own, _ := netip.ParseAddrPort(l.Addr().String())
		if err := s.Serve(&fair{Listener: l, own: own.Addr(), of: map[netip.Addr]int{}, open: &w.open}); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "metadata:", err)
			os.Exit(1)
		}
	}()
}

// fair is a listener that lets no guest have more connections than its share. All of
// them together cannot keep the router out, which asks from its own address whether this
// is well: guests would have the server of all others started anew.
type fair struct {
	net.Listener
	own  netip.Addr
	mu   sync.Mutex
	of   map[netip.Addr]int
	all  int
	open *atomic.Int64 // of all ports
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
	full := f.all >= maxOfAll || f.open.Load() >= maxOpen
	if f.of[from] >= maxOfOne || full && from != f.own {
		return false
	}
	f.open.Add(1)
	f.of[from]++
	f.all++
	return true
}

func (f *fair) leave(from netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open.Add(-1)
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
