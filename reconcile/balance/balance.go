// Package balance keeps HAProxy in a router: it starts it, has it read another
// configuration without a connection or the memory of who sticks to whom being lost, and
// ends with it.
//
// In goes the configuration that an element wrote, and certificates beside it; there is
// no output but the service, and words about it at a socket of the namespace. cmd imports
// it.
package balance

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
)

// Verb is the word that makes the weft program this keeper.
const Verb = "balance-serve"

// Socket is where the keeper tells how balancers are: an abstract socket, of which each
// namespace has its own. An empty line is answered with "Loaded" or why what was written
// last is not what runs, the name of a balancer with "Serves" or why it does not.
const Socket = "@weft-balance"

// Main runs args if they are the keeper's, and returns the exit code.
func Main(args []string) (code int, ok bool) {
	if len(args) == 0 || args[0] != Verb {
		return 0, false
	}
	// What is started ends with the thread that started it.
	runtime.LockOSThread()
	if err := serve(args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "haproxy:", err)
		return 1, true
	}
	return 0, true
}

func serve(args []string) error {
	k := keeper{}
	test, pem := false, ""
	f := flag.NewFlagSet(Verb, flag.ContinueOnError)
	f.StringVar(&k.dir, "dir", "", "directory of haproxy.cfg and of certificates")
	f.StringVar(&k.state, "state", "", "directory of what HAProxy is given to read")
	f.BoolVar(&test, "test", false, "have HAProxy read the files, and end")
	f.StringVar(&pem, "pem", "", "say whether a certificate can be used with its key, and end")
	if err := f.Parse(args); err != nil {
		return err
	}
	if pem != "" {
		return usable(pem)
	}
	next, err := read(k.dir)
	if err != nil {
		return err
	}
	if test {
		return check(k.dir, next.text)
	}
	return k.run(next)
}
