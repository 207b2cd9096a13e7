// Package bgp keeps FRR's bgpd in a router: it starts it, has it read what changed
// without a session ending, tells how sessions are, and ends with it.
//
// In goes a configuration that an element wrote; out come sessions, and to who asks at a
// socket of the namespace how each of them is. cmd imports it.
package bgp

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"weft.dev/reconcile/host"
)

// Verb is the word that makes the weft program this keeper.
const Verb = "bgp-serve"

// Socket is where the keeper tells how sessions are: an abstract socket, of which each
// namespace has its own. Asked "PEER\n" for the session with an address, or "\n" for
// bgpd itself, it answers as status.BGP replies.
const Socket = "@weft-bgp"

// Main runs args if they are the keeper's, and returns the exit code.
func Main(args []string) (code int, ok bool) {
	if len(args) == 0 || args[0] != Verb {
		return 0, false
	}
	// What is started ends with the thread that started it.
	runtime.LockOSThread()
	if err := serve(args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bgp:", err)
		return 1, true
	}
	return 0, true
}

const (
	startTime = 10 * time.Second
	stopTime  = 2 * time.Second
	askTime   = 10 * time.Second
)

type keeper struct {
	conf, state string
	same        bool // bgpd is the same user: in a user namespace there is no other
	socket      string
	now         string
}

func serve(args []string) error {
	var k keeper
	test := false
	f := flag.NewFlagSet(Verb, flag.ContinueOnError)
	f.StringVar(&k.conf, "conf", "", "configuration of bgpd")
	f.StringVar(&k.state, "state", "", "directory of bgpd's own files")
	f.BoolVar(&k.same, "same-user", false, "bgpd gives up no privileges, and there is no zebra")
	f.StringVar(&k.socket, "tell", Socket, "socket that tells how sessions are")
	f.BoolVar(&test, "test", false, "have the configuration read, and end")
	if err := f.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(k.conf)
	if err != nil {
		return err
	}
	if test {
		return k.try()
	}
	k.now = string(text)
	return k.run()
}

// try has bgpd read the configuration.
func (k *keeper) try() error {
	out, err := exec.Command(bgpdPath, "-C", "-S", "-Z", "-p", "0", "-f", k.conf).CombinedOutput()
	if errors.Is(err, os.ErrNotExist) {
		return errNoFRR
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		for i := range lines {
			lines[i] = secretless(lines[i])
		}
		return fmt.Errorf("bgpd refuses the configuration: %w: %s", err, strings.Join(lines, "\n"))
	}
	return nil
}

func (k *keeper) run() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	// What leads to the directory is not for frr to pass, nor for a socket's path to hold.
	if err := errors.Join(os.MkdirAll(k.state, 0o700), os.Chdir(k.state)); err != nil {
		return err
	}
	zebra, bgpd, err := k.start()
	if err != nil {
		return err
	}
	stop := func(err error) error {
		bgpd.stop()
		zebra.stop()
		return err
	}
	if err := host.Tell(k.socket, k.answer); err != nil {
		return stop(err)
	}
	go k.wake()
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return stop(nil)
			}
			if err := k.reload(); err != nil {
				// Started anew it reads all; peers keep its routes meanwhile.
				return stop(fmt.Errorf("reload: %w", err))
			}
		case err := <-bgpd.ended:
			return stop(fmt.Errorf("bgpd ended: %w", errors.Join(err, errAnew)))
		case err := <-zebra.ended:
			// Without it the next IPv6 route of a peer would end the session.
			return stop(fmt.Errorf("zebra ended: %w", errors.Join(err, errAnew)))
		}
	}
}

var errAnew = errors.New("it is started anew")

// reload tells bgpd what changed.
func (k *keeper) reload() error {
	text, err := os.ReadFile(k.conf)
	if err != nil {
		return err
	}
	commands := Change(k.now, string(text))
	if len(commands) == 0 {
		return nil
	}
	// Not by vtysh: passwords would stand in its command line.
	if _, err := command(bgpdVTY, append([]string{"enable", "configure terminal"}, commands...)); err != nil {
		return err
	}
	k.now = string(text)
	return nil
}
