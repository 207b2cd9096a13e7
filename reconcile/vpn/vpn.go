// Package vpn is what runs a router's VPNs: a keeper of strongSwan's charon, which
// speaks IPsec, one of xl2tpd and pppd, which speak L2TP inside that, and WireGuard, in
// the kernel or, where that has none, by its own implementation in Go.
//
// In go the files that the VirtualRouter element asks for; out come tunnels, and to who
// asks at a socket of the namespace how each of them is. It runs inside the router's
// namespace. cmd imports it.
package vpn

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"weft.dev/reconcile/host"
)

// The verbs by which the program is called to be one of these.
const (
	IPsecVerb     = "ipsec-serve"
	WireGuardVerb = "wireguard-serve"
	L2TPVerb      = "l2tp-serve"
)

var verbs = map[string]func(args []string) error{IPsecVerb: serveIPsec, WireGuardVerb: serveWireGuard, L2TPVerb: serveL2TP}

// maxFile bounds a file that is read whole.
const maxFile = 1 << 20

// Main is the program called by one of the verbs; false if args are none of them.
func Main(args []string) (code int, ours bool) {
	if len(args) == 0 || verbs[args[0]] == nil {
		return 0, false
	}
	// What is started ends with the thread that started it.
	runtime.LockOSThread()
	serve := verbs[args[0]]
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
	return host.ReadFile(path, maxFile)
}
