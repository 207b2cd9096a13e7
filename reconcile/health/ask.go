package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// Net asks over the network and local sockets of a host, from inside the namespace
// that is asked about. It starts no process.
type Net struct{ Host *host.Host }

// Ask implements Asker.
func (n Net) Ask(ctx context.Context, ns string, p resource.Probe) (string, error) {
	if !n.Host.HasSpace(ns) {
		return "", fmt.Errorf("%w: there is no namespace %s", ErrAbsent, ns)
	}
	if err := n.here(ns, p); err != nil {
		return "", err
	}
	words, err := n.put(ctx, ns, p)
	if p.Outside && (errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.ENETDOWN)) {
		// A standby has no way out; whoever should have one gets it back by the diff.
		return "", fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	return words, err
}

// put asks in the way of the probe.
func (n Net) put(ctx context.Context, ns string, p resource.Probe) (string, error) {
	switch p.Kind {
	case resource.ProbeDNS:
		return n.dns(ctx, ns, p)
	case resource.ProbeDHCP:
		return n.dhcp(ctx, ns, p)
	case resource.ProbeDHCP6:
		return n.dhcp6(ctx, ns, p)
	case resource.ProbeRA:
		return n.ra(ctx, ns, p)
	case resource.ProbePing:
		return n.ping(ctx, ns, p)
	case resource.ProbeHTTP:
		return n.http(ctx, ns, p)
	case resource.ProbeTCP:
		return n.talk(ctx, ns, "tcp", p.At, p)
	case resource.ProbeUnix:
		return n.talk(ctx, ns, "unix", n.path(p.Path), p)
	case resource.ProbeVPN, resource.ProbeBGP:
		return n.whole(ctx, ns, p)
	case resource.ProbeHAProxy:
		return n.haproxy(ctx, ns, p)
	}
	return "", fmt.Errorf("%w: nobody here asks by %q", ErrAbsent, p.Kind)
}

// path is a socket's.
func (n Net) path(p string) string {
	if strings.HasPrefix(p, "@") {
		return p
	}
	return strings.ReplaceAll(p, "{run}", filepath.Join(n.Host.RunDir, "files"))
}

// here reports as absent what listens at an address that is another host's now: on
// the standby of a pair the services run, and would answer if the address were here.
func (n Net) here(ns string, p resource.Probe) error {
	at := address(p.At)
	local := p.Kind == resource.ProbeUnix || p.Kind == resource.ProbeVPN || p.Kind == resource.ProbeBGP // At is an address that it needs
	if p.Outside && !local || !at.IsValid() || p.Kind == resource.ProbePing {
		return nil
	}
	found := false
	err := n.Host.In(ns, func() error {
		all, err := net.InterfaceAddrs()
		for _, a := range all {
			if x, ok := a.(*net.IPNet); ok {
				ip, _ := netip.AddrFromSlice(x.IP)
				found = found || ip.Unmap() == at
			}
		}
		return err
	})
	if err != nil || found {
		return err
	}
	return fmt.Errorf("%w: %s is not this host's at the moment", ErrAbsent, at)
}

// address is that of "ADDRESS" or "ADDRESS:PORT"; the zero one of anything else.
func address(at string) netip.Addr {
	if ap, err := netip.ParseAddrPort(at); err == nil {
		return ap.Addr()
	}
	a, _ := netip.ParseAddr(at)
	return a
}

// dial connects inside a namespace; the connection ends with ctx.
func (n Net) dial(ctx context.Context, ns, network, at string) (net.Conn, error) {
	var conn net.Conn
	err := n.Host.In(ns, func() (err error) {
		// One address, so that it is tried on this very thread.
		conn, err = (&net.Dialer{}).DialContext(ctx, network, at)
		return err
	})
	if err != nil {
		return nil, plain(err)
	}
	if t, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(t)
	}
	return conn, nil
}

// plain says what is wrong without what everybody knows: whom was asked, from where.
func plain(err error) error {
	var op *net.OpError
	var t interface{ Timeout() bool }
	switch {
	case errors.As(err, &t) && t.Timeout():
		return errors.New("no answer")
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// maxReply bounds what is read of a reply.
const maxReply = 1 << 20

// talk connects, says p.Ask and reads until p.Want came, if anything is wanted.
func (n Net) talk(ctx context.Context, ns, network, at string, p resource.Probe) (string, error) {
	conn, err := n.dial(ctx, ns, network, at)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if p.Ask != "" {
		if _, err := io.WriteString(conn, p.Ask); err != nil {
			return "", plain(err)
		}
	}
	if p.Want == "" {
		return "connected", nil
	}
	line, err := firstLine(conn, len(p.Want))
	switch {
	case strings.HasPrefix(line, p.Want):
		return line, nil
	case line != "":
		return "", errors.New(line)
	case err == nil || errors.Is(err, io.EOF):
		return "", errors.New("it says nothing")
	}
	return "", plain(err)
}

// firstLine reads the first line of a reply, or as much of it as came with the first enough
// bytes.
func firstLine(r io.Reader, enough int) (string, error) {
	buf := make([]byte, max(512, enough))
	k := 0
	for {
		n, err := r.Read(buf[k:])
		k += n
		line, _, whole := bytes.Cut(buf[:k], []byte("\n"))
		if whole || k >= enough || err != nil {
			return strings.TrimSpace(string(line)), err
		}
	}
}

// http asks for a path; who is asked is an address, so that nothing is resolved.
func (n Net) http(ctx context.Context, ns string, p resource.Probe) (string, error) {
	conn, err := n.dial(ctx, ns, "tcp", p.At)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	path := "/" + strings.TrimPrefix(strings.Map(printable, p.Path), "/")
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: weft-health\r\n\r\n", path, p.At); err != nil {
		return "", plain(err)
	}
	reply, err := io.ReadAll(io.LimitReader(conn, 512))
	line, _, _ := bytes.Cut(reply, []byte("\n"))
	var version string
	var code int
	if _, scan := fmt.Sscanf(string(line), "HTTP/%3s %d", &version, &code); scan != nil {
		if err != nil {
			return "", plain(err)
		}
		return "", fmt.Errorf("it answers %.40q, which is not HTTP", line)
	}
	if code >= 500 {
		return "", fmt.Errorf("it answers with status %d", code)
	}
	return fmt.Sprintf("answers with status %d", code), nil
}

// printable drops what would end a line of a request.
func printable(r rune) rune {
	if r <= ' ' || r == 0x7f {
		return -1
	}
	return r
}

// deadline is when ctx ends.
func deadline(ctx context.Context) time.Time {
	if t, ok := ctx.Deadline(); ok {
		return t
	}
	return time.Now().Add(timeout)
}
