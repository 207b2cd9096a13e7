package metadata

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
)

// nobody is the user that talks to guests.
const nobody = 65534

// A keeper is one call of the program.
type keeper struct {
	dir, state string
	same       bool // the worker is the same user: in a user namespace there is no other
	host       *host.Host

	watch *fsnotify.Watcher
	sides map[string]*side // by the path of their directory below dir
	saved saved
	tell  *json.Encoder // to the worker: what to tell
	hand  *os.File      // to the worker: ports, see pass

	dirty   map[string]bool // namespaces to look at
	pause   time.Duration   // before what is not complete is looked at again
	said    map[string]string
	listens int // counts the ports that were opened
}

// Main is the program called by one of the verbs; false if args are none of them.
func Main(args []string) (code int, ours bool) {
	if len(args) == 0 || args[0] != Verb && args[0] != workerVerb {
		return 0, false
	}
	var err error
	switch {
	case args[0] == Verb:
		runtime.GOMAXPROCS(1) // guests wait for the other
		err = keep(args[1:])
	case len(args) == 1:
		runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
		err = work()
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
	k := keeper{host: host.New("", ""), sides: map[string]*side{}, dirty: map[string]bool{}, said: map[string]string{}}
	f := flag.NewFlagSet(Verb, flag.ContinueOnError)
	f.StringVar(&k.dir, "dir", "", "directory of what to tell")
	f.StringVar(&k.state, "state", "", "file that remembers which passwords were taken")
	f.BoolVar(&k.same, "same-user", false, "give up no privileges")
	if err := f.Parse(args); err != nil {
		return err
	}
	if k.dir == "" || k.state == "" || f.NArg() > 0 {
		return errors.New("it needs --dir and --state, and nothing else")
	}
	return k.run()
}

// run has a worker serve, and ends with it.
func (k *keeper) run() (err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	k.saved = readSaved(k.state)
	if k.watch, err = fsnotify.NewWatcher(); err != nil {
		return err
	}
	defer func() { _ = k.watch.Close() }()
	cmd, in, out, err := k.start()
	if err != nil {
		return err
	}
	k.tell = json.NewEncoder(in)
	if err := k.all(); err != nil {
		return err
	}
	news, ended := make(chan taken), make(chan error, 1)
	go hear(out, news, ended)
	return k.mind(signals, news, ended, in, cmd)
}

// start starts the worker: as nobody, who may never become another, in a network
// namespace of its own in which there is nothing.
func (k *keeper) start() (*exec.Cmd, io.WriteCloser, io.Reader, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("a way to hand over ports: %w", err)
	}
	k.hand = os.NewFile(uintptr(pair[0]), "hand")
	given := os.NewFile(uintptr(pair[1]), "hand")
	defer func() { _ = given.Close() }()
	cmd := exec.Command("/proc/self/exe", workerVerb)
	cmd.Dir, cmd.Stderr, cmd.ExtraFiles = "/", os.Stderr, []*os.File{given}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if !k.same {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = 0
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	runtime.LockOSThread() // the worker inherits it of the thread that starts it
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, nil, nil, fmt.Errorf("give up new privileges: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, nil, fmt.Errorf("start the worker: %w", err)
	}
	return cmd, in, out, nil
}

// gather is how long changes are gathered: files come in one by one.
const gather = 20 * time.Millisecond

// mind does what files, signals and the worker ask for, until one of them wants an end.
func (k *keeper) mind(signals <-chan os.Signal, news <-chan taken, ended <-chan error, in io.Closer, cmd *exec.Cmd) error {
	timer := time.NewTimer(0)
	gathering := false
	for {
		var err error
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				_ = in.Close() // which ends the worker
				return cmd.Wait()
			}
			err = k.all()
		case e := <-k.watch.Events:
			if k.noted(e) {
				k.pause = gather
				if !gathering { // or changes without a pause would never be served
					timer.Reset(gather)
					gathering = true
				}
			}
			continue
		case <-k.watch.Errors: // events were lost
			err = k.all()
		case <-timer.C:
			gathering = false
			err = k.catchUp()
		case t := <-news:
			err = k.take(t)
		case bad := <-ended:
			_ = in.Close()
			return errors.Join(errors.New("the worker ended"), bad, cmd.Wait())
		}
		if err != nil {
			return err
		}
		if len(k.dirty) > 0 && !gathering {
			k.pause = min(max(2*k.pause, gather), 2*time.Second)
			timer.Reset(k.pause)
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

// take remembers that a VM has its password, unless that is another by now.
func (k *keeper) take(t taken) error {
	s := k.sides[t.Side]
	if s == nil {
		return nil
	}
	for _, g := range s.guests {
		if g.ID == t.ID && len(g.Password) > 0 && isMark(t.Mark, g.Password) {
			k.saved.put(t.Side, t.ID, t.Mark)
			k.save()
			return k.retell(t.Side, s)
		}
	}
	return k.retell(t.Side, s)
}

func (k *keeper) save() {
	if err := k.saved.write(k.state); err != nil {
		fmt.Fprintln(os.Stderr, "metadata: a restart will tell a password again:", strings.TrimSpace(err.Error()))
	}
}

// retell tells the worker all that a side has, without the passwords that were taken.
func (k *keeper) retell(name string, s *side) error {
	list := make([]*Guest, len(s.guests))
	for i, g := range s.guests {
		if len(g.Password) > 0 && k.saved.has(name, g.ID, g.Password) {
			without := *g
			without.Password, g = nil, &without
		}
		list[i] = g
	}
	return k.told(told{Side: name, Guests: list})
}

func (k *keeper) told(t told) error {
	if err := k.tell.Encode(t); err != nil {
		return fmt.Errorf("tell the worker: %w", err)
	}
	return nil
}
