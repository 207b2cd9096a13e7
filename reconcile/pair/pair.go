// Package pair is what runs beside a router that stands for another: it keeps
// keepalived and conntrackd alive, remembers what keepalived decided and when, and
// runs what must run on the primary only.
//
// In go the files that weft wrote and the addresses of the namespace that it runs in;
// out come daemons, and a file with the history of the router. The program itself is
// called by one of the verbs below, started like any process of weft's; the status
// reads the history. cmd imports it; it imports nothing of weft.
package pair

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
)

// The verbs by which the program is called.
const (
	Keepalived = "keepalived-serve" // --config FILE --state FILE [--test]
	Conntrackd = "conntrackd-serve" // --config FILE --state FILE --address PREFIX --link NAME
	While      = "while-address"    // --address PREFIX --link NAME -- COMMAND...
)

// Dir stands in a configuration for the directory of what its daemon writes.
const Dir = "{dir}"

// Main is the program called by one of the verbs; false if args are none of them.
func Main(args []string) (code int, ours bool) {
	if len(args) == 0 || args[0] != Keepalived && args[0] != Conntrackd && args[0] != While {
		return 0, false
	}
	runtime.GOMAXPROCS(1) // many routers have a host
	// What it starts ends with the thread that did.
	runtime.LockOSThread()
	if err := serve(args[0], args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, args[0]+":", err)
		return 1, true
	}
	return 0, true
}

func serve(verb string, args []string) error {
	var s service
	var address string
	test := false
	f := flag.NewFlagSet(verb, flag.ContinueOnError)
	f.StringVar(&s.config, "config", "", "configuration of the daemon; "+Dir+" in it is a directory of the daemon's own")
	f.StringVar(&s.state, "state", "", "file that remembers; the directory stands beside it")
	f.BoolVar(&test, "test", false, "test the configuration, and end")
	f.StringVar(&address, "address", "", "the address by which the primary is known")
	f.StringVar(&s.link, "link", "", "the link that has it")
	if err := f.Parse(args); err != nil {
		return err
	}
	if address != "" {
		p, err := netip.ParsePrefix(address)
		if err != nil {
			return err
		}
		s.address = p
	}
	switch {
	case verb == While && (f.NArg() == 0 || address == "" || s.link == ""):
		return errors.New("it wants an address, a link and a command")
	case verb == While:
		s.argv = f.Args()
		return s.whileAddress()
	case s.config == "" || s.state == "" && !test || f.NArg() > 0:
		return errors.New("it wants --config and --state")
	case test:
		return s.test()
	case verb == Keepalived:
		return s.keepalived()
	}
	return s.conntrackd()
}
