// Package bgp keeps FRR's bgpd in a router: it starts it, has it read what changed
// without a session ending, and ends with it.
//
// In goes a configuration that an element wrote; there is no output but the sessions.
// cmd imports it.
package bgp

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Verb is the word that makes the weft program this keeper.
const Verb = "bgp-serve"

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

// Where Debian's packages have FRR.
const (
	daemonPath = "/usr/lib/frr/bgpd"
	frrUser    = "frr"
)

const (
	startTime = 10 * time.Second
	stopTime  = 2 * time.Second
	askTime   = 10 * time.Second
)

// socket is bgpd's in the keeper's directory.
const socket = "bgpd.vty"

type keeper struct {
	conf, state string
	same        bool // bgpd is the same user: in a user namespace there is no other
	now         string
}

func serve(args []string) error {
	var k keeper
	test := false
	f := flag.NewFlagSet(Verb, flag.ContinueOnError)
	f.StringVar(&k.conf, "conf", "", "configuration of bgpd")
	f.StringVar(&k.state, "state", "", "directory of bgpd's own files")
	f.BoolVar(&k.same, "same-user", false, "bgpd gives up no privileges")
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
	out, err := exec.Command(daemonPath, "-C", "-S", "-Z", "-p", "0", "-f", k.conf).CombinedOutput()
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("bgpd is not installed (Debian: frr)")
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
	cmd, ended, err := k.start()
	if err != nil {
		return err
	}
	stop := func(err error) error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(stopTime):
			_ = cmd.Process.Kill()
			<-ended
		}
		return err
	}
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
		case err := <-ended:
			return fmt.Errorf("bgpd ended: %w", errors.Join(err, errors.New("it is started anew")))
		}
	}
}

// start starts bgpd, which dies with the keeper. Its own copy of the configuration is
// read once: it may hold passwords.
func (k *keeper) start() (*exec.Cmd, <-chan error, error) {
	// What leads to the directory is not for frr to pass, nor for a socket's path to hold.
	if err := errors.Join(os.MkdirAll(k.state, 0o700), os.Chdir(k.state)); err != nil {
		return nil, nil, err
	}
	const conf, pid = "bgpd.conf", "bgpd.pid"
	argv := []string{"-f", "/proc/self/fd/3", "-Z", "-P", "0", "-i", pid, "--vty_socket", ".", "--log", "stdout"}
	if k.same {
		argv = append(argv, "-S")
	} else {
		argv = append(argv, "-u", frrUser, "-g", frrUser)
	}
	for _, old := range []string{conf, socket, pid} { // of one that was killed
		_ = os.Remove(old)
	}
	// The directory is frr's since the last start: no link that lies there is followed.
	text, err := os.OpenFile(conf, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = text.Close() }()
	if _, err := text.WriteString(k.now); err != nil {
		return nil, nil, err
	}
	if !k.same {
		if err := give(text); err != nil {
			return nil, nil, err
		}
	}
	cmd := exec.Command(daemonPath, argv...)
	cmd.ExtraFiles = []*os.File{text} // bgpd makes a path whole, and that leads through our directories
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = errors.New("bgpd is not installed (Debian: frr)")
		}
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for end := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return cmd, ended, nil
		}
		select {
		case err := <-ended:
			return nil, nil, fmt.Errorf("bgpd does not start: %w", errors.Join(err, errors.New("see its log")))
		default:
		}
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			return nil, nil, errors.New("bgpd does not answer")
		}
	}
}

// give makes the configuration and the directory bgpd's.
func give(conf *os.File) error {
	u, err := user.Lookup(frrUser)
	if err != nil {
		return fmt.Errorf("%w (Debian: frr)", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return errors.Join(conf.Chown(uid, gid), os.Chown(".", uid, gid))
}

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
	if err := command(socket, append([]string{"enable", "configure terminal"}, commands...)); err != nil {
		return err
	}
	k.now = string(text)
	return nil
}
