package metadata

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody is the user that talks to guests.
const nobody = 65534

// A keeper is one call of the program.
type keeper struct {
	dir, state string
	same       bool // the worker is the same user: in a user namespace there is no other
	test       bool
	ports      []string
	kinds      string // of ports, see work

	guests []*Guest // as read last
	saved  saved
	tell   *json.Encoder
}

// Main is the program called by one of the verbs; false if args are none of them.
func Main(args []string) (code int, ours bool) {
	if len(args) == 0 || args[0] != Verb && args[0] != workerVerb {
		return 0, false
	}
	runtime.GOMAXPROCS(1) // many routers have a host
	var err error
	switch {
	case args[0] == Verb:
		err = keep(args[1:])
	case len(args) == 2:
		err = work(args[1])
	default:
		err = errors.New("it is called by the keeper only")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "metadata:", err)
		return 1, true
	}
	return 0, true
}

func keep(args []string) error {
	var k keeper
	f := flag.NewFlagSet(Verb, flag.ContinueOnError)
	f.StringVar(&k.dir, "dir", "", "directory of what to tell")
	f.StringVar(&k.state, "state", "", "file that remembers which passwords were taken")
	f.BoolVar(&k.same, "same-user", false, "give up no privileges")
	f.BoolVar(&k.test, "test", false, "read the files, and end")
	port := func(kind string) func(string) error {
		return func(at string) error {
			k.ports, k.kinds = append(k.ports, at), k.kinds+kind
			return nil
		}
	}
	f.Func("listen", "ADDRESS:PORT for metadata, may be repeated", port("m"))
	f.Func("passwords", "ADDRESS:PORT for passwords, may be repeated", port("p"))
	if err := f.Parse(args); err != nil {
		return err
	}
	var err error
	if k.guests, err = Read(k.dir); err != nil || k.test {
		return err
	}
	return k.run()
}

// run has a worker serve, and ends with it.
func (k *keeper) run() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	k.saved = readSaved(k.state)
	files, err := k.listen()
	if err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", workerVerb, k.kinds)
	cmd.Dir, cmd.Stderr, cmd.ExtraFiles = "/", os.Stderr, files
	if !k.same {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the worker inherits it of the thread that starts it
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	// The keeper keeps the ports too, unused: by a socket the process driver knows that it serves.
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	k.tell = json.NewEncoder(in)
	if err := k.retell(); err != nil {
		return err
	}
	news, ended := make(chan taken), make(chan error, 1)
	go hear(out, news, ended)
	return k.mind(signals, news, ended, in, cmd)
}

// mind does what signals and the worker ask for, until one of them wants an end.
func (k *keeper) mind(signals <-chan os.Signal, news <-chan taken, ended <-chan error, in io.Closer, cmd *exec.Cmd) error {
	for {
		var err error
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				_ = in.Close() // which ends the worker
				return cmd.Wait()
			}
			guests, bad := Read(k.dir)
			if bad != nil {
				fmt.Fprintln(os.Stderr, "metadata: what was read before stays:", bad)
				continue
			}
			k.guests = guests
			k.take(taken{}) // nothing, but VMs may be gone
			err = k.retell()
		case t := <-news:
			k.take(t)
			err = k.retell()
		case bad := <-ended:
			_ = in.Close()
			return errors.Join(errors.New("the worker ended"), bad, cmd.Wait())
		}
		if err != nil {
			return err
		}
	}
}

// hear passes on who took its password. The worker talks to guests, so what it says
// is bounded: a line of bufio.Scanner at most.
func hear(out io.Reader, news chan<- taken, ended chan<- error) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var t taken
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			ended <- err
			return
		}
		news <- t
	}
	ended <- lines.Err()
}

// listen opens the ports.
func (k *keeper) listen() ([]*os.File, error) {
	var out []*os.File
	for _, at := range k.ports {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return nil, err
		}
		f, err := l.(*net.TCPListener).File()
		_ = l.Close()
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no port to listen at")
	}
	return out, nil
}

// retell tells the worker all there is, without the passwords that were taken.
func (k *keeper) retell() error {
	list := make([]*Guest, len(k.guests))
	for i, g := range k.guests {
		if len(g.Password) > 0 && k.saved.has(g.ID, g.Password) {
			without := *g
			without.Password, g = nil, &without
		}
		list[i] = g
	}
	if err := k.tell.Encode(list); err != nil {
		return fmt.Errorf("tell the worker: %w", err)
	}
	return nil
}

// take remembers that a VM has its password, unless that is another by now. Of VMs
// that are no more nothing is kept: one that is made again under the name is told anew.
func (k *keeper) take(t taken) {
	said := saved{t.ID: t.Mark}
	next := saved{}
	for _, g := range k.guests {
		if mark, ok := k.saved[g.ID]; ok {
			next[g.ID] = mark
		}
		if len(g.Password) > 0 && said.has(g.ID, g.Password) {
			next[g.ID] = t.Mark
		}
	}
	if maps.Equal(next, k.saved) {
		return
	}
	k.saved = next
	if err := next.write(k.state); err != nil {
		fmt.Fprintln(os.Stderr, "metadata: a restart will tell a password again:", strings.TrimSpace(err.Error()))
	}
}
