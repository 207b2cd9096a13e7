// Package vpn is what runs a router's VPNs: a keeper of strongSwan's charon, which
// speaks IPsec, and WireGuard, in the kernel or, where that has none, by its own
// implementation in Go.
//
// In go the files that the VirtualRouter element asks for; out come tunnels, and to who
// asks at a socket of the namespace how each of them is. It runs inside the router's
// namespace. cmd imports it.
package vpn

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// The verbs by which the program is called to be one of the two.
const (
	IPsecVerb     = "ipsec-serve"
	WireGuardVerb = "wireguard-serve"
)

// A State is how a VPN is, in CloudStack's words.
type State string

// The states of a VPN.
const (
	Connected    State = "Connected"
	Connecting   State = "Connecting"
	Disconnected State = "Disconnected"
	Failed       State = "Error"
)

// maxFile bounds a file that is read whole.
const maxFile = 1 << 20

// Main is the program called by one of the verbs; false if args are none of them.
func Main(args []string) (code int, ours bool) {
	if len(args) == 0 || args[0] != IPsecVerb && args[0] != WireGuardVerb {
		return 0, false
	}
	// What is started ends with the thread that started it.
	runtime.LockOSThread()
	serve := serveIPsec
	if args[0] == WireGuardVerb {
		serve = serveWireGuard
	}
	if err := serve(args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", args[0], err)
		return 1, true
	}
	return 0, true
}

// read reads a file below dir.
func read(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%s is not below %s", name, dir)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}

// askTime bounds how long who asks for a state may take.
const askTime = 5 * time.Second

// tell answers at an abstract socket of the namespace: to a line with a VPN's name, a
// line with its state and perhaps a reason.
func tell(socket string, answer func(name string) string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(askTime))
				line, _ := bufio.NewReaderSize(c, 256).ReadSlice('\n')
				_, _ = fmt.Fprintln(c, answer(strings.TrimSpace(string(line))))
			}()
		}
	}()
	return nil
}
