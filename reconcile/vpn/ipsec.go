package vpn

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/strongswan/govici/vici"
	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
)

// IPsecSocket is where the keeper of charon tells how VPNs are: an abstract socket, of
// which each namespace has its own.
const IPsecSocket = "@weft-ipsec"

const (
	// startTime bounds charon's start, which takes 10 to 60 ms on a machine that is not busy.
	startTime = 30 * time.Second
	// tickTime is how often the keeper looks whether each tunnel is there.
	tickTime = 2 * time.Second
	// againTime passes between two calls of a peer.
	againTime = 5 * time.Second
)

// A keeper has charon do what the files say.
type keeper struct {
	dir, state string
	same       bool // charon is the same user: in a user namespace there is no other
	socket     string

	now     map[string]*item    // as loaded
	refused map[string]*refusal // by charon, by id
	board   board

	mu     sync.Mutex // a session takes one command after the other
	charon *vici.Session
}

func serveIPsec(args []string) error {
	var k keeper
	test := false
	f := flag.NewFlagSet(IPsecVerb, flag.ContinueOnError)
	f.StringVar(&k.dir, "dir", "", "directory of strongswan.conf, connections and secrets")
	f.StringVar(&k.state, "state", "", "directory of charon's own socket")
	f.BoolVar(&k.same, "same-user", false, "charon gives up no privileges")
	f.StringVar(&k.socket, "tell", IPsecSocket, "socket that tells how VPNs are")
	f.BoolVar(&test, "test", false, "read the files, and end")
	if err := f.Parse(args); err != nil {
		return err
	}
	next, err := items(k.dir)
	if err != nil || test {
		return err
	}
	return k.run(next)
}

func (k *keeper) run(first map[string]*item) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	// charon is told a path without directories: a socket's has at most 107 bytes.
	if err := errors.Join(os.MkdirAll(k.state, 0o700), os.Chdir(k.state)); err != nil {
		return err
	}
	cmd, ended, err := k.start()
	if err != nil {
		return err
	}
	stop := func(err error) error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(2 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		return err
	}
	if err := k.connect(ended); err != nil {
		return stop(err)
	}
	k.load(first)
	if err := host.Tell(k.socket, k.answer); err != nil {
		return stop(err)
	}
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return stop(nil)
			}
			next, err := items(k.dir)
			if err != nil {
				fmt.Fprintln(os.Stderr, "ipsec: what was read before stays:", err)
				continue
			}
			k.load(next)
		case <-tick.C:
			k.again()
			if err := k.call(); err != nil {
				return stop(err)
			}
		case err := <-ended:
			if err == nil {
				err = errors.New("exit status 0")
			}
			return fmt.Errorf("charon ended: %w", err)
		}
	}
}

// viciName is charon's socket in the keeper's directory.
const viciName = "charon.vici"

// start starts charon, which dies with the keeper.
func (k *keeper) start() (*exec.Cmd, <-chan error, error) {
	_ = os.Remove(viciName) // of one that was killed
	path, err := exec.LookPath("charon-systemd")
	if err != nil {
		return nil, nil, errors.New("charon-systemd is not installed (Debian: charon-systemd)")
	}
	cmd := exec.Command(path)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+filepath.Join(k.dir, "strongswan.conf"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if !k.same {
		user := userOf(k.state)
		if err := os.Chown(".", int(user), int(user)); err != nil {
			return nil, nil, err
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, nil, fmt.Errorf("give up new privileges: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		close(ended) // whoever asks again hears that it has
	}()
	return cmd, ended, nil
}

// userOf is the user that a charon runs as, by its own directory: another for each router,
// so that none whom an attacker took over can read the secrets of another's. That two have
// the same is unlikely, and costs only that. Nobody else has these: from 0x7ffe0000 on are
// systemd's foreign users (systemd, "Users, Groups, UIDs and GIDs").
func userOf(dir string) uint32 {
	sum := sha256.Sum256([]byte(dir))
	return 0x70000000 + binary.BigEndian.Uint32(sum[:])%0x0ffe0000
}

// connect waits for charon to serve.
func (k *keeper) connect(ended <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for {
		s, err := vici.NewSession(vici.WithAddr("unix", viciName))
		if err == nil {
			k.charon = s
			return k.hear()
		}
		select {
		case err := <-ended:
			return fmt.Errorf("charon ended (%w): is a plugin of it not installed? Debian: libcharon-extra-plugins, libstrongswan-standard-plugins; its log says which", err)
		case <-ctx.Done():
			return fmt.Errorf("charon: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// hear notes why connections fail, as charon says it.
func (k *keeper) hear() error {
	s, err := vici.NewSession(vici.WithAddr("unix", viciName))
	if err != nil {
		return err
	}
	if err := s.Subscribe("log"); err != nil {
		return fmt.Errorf("charon: %w", err)
	}
	events := make(chan vici.Event, 256)
	s.NotifyEvents(events)
	go func() {
		for e := range events {
			name, _ := e.Message.Get("ikesa-name").(string)
			text, _ := e.Message.Get("msg").(string)
			k.board.note(name, text)
		}
	}()
	return nil
}

// command has charon do something; nil arguments are none.
func (k *keeper) command(name string, args map[string]any) error {
	m, err := message(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	_, err = k.charon.Call(ctx, name, m)
	return err
}
