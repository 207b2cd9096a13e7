package bgp

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Where Debian's packages have FRR, and the user and the group that are theirs.
const (
	bgpdPath  = "/usr/lib/frr/bgpd"
	zebraPath = "/usr/lib/frr/zebra"
	frrUser   = "frr"
	vtyGroup  = "frrvty"
)

var errNoFRR = errors.New("bgpd is not installed (Debian: frr)")

// Sockets in the keeper's directory: where bgpd takes commands, and zebra clients.
const (
	bgpdVTY  = "bgpd.vty"
	zebraAPI = "zserv"
)

// zebraConf is all that zebra is told: to install nothing, neither routes nor nexthops,
// and that a default route leads to a peer.
const zebraConf = `no zebra nexthop kernel enable
route-map nothing deny 10
ip protocol any route-map nothing
ipv6 protocol any route-map nothing
ip nht resolve-via-default
ipv6 nht resolve-via-default
`

// A daemon is a process that dies with the keeper. The zero one never runs nor ends.
type daemon struct {
	cmd   *exec.Cmd
	ended <-chan error
}

func (d *daemon) stop() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(stopTime):
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
}

// account is frr's.
type account struct{ uid, gid, vty int }

func frr() (a account, err error) {
	u, err := user.Lookup(frrUser)
	if err != nil {
		return a, fmt.Errorf("%w (Debian: frr)", err)
	}
	g, err := user.LookupGroup(vtyGroup)
	if err != nil {
		return a, fmt.Errorf("%w (Debian: frr)", err)
	}
	for _, x := range []struct {
		to   *int
		text string
	}{{&a.uid, u.Uid}, {&a.gid, u.Gid}, {&a.vty, g.Gid}} {
		if *x.to, err = strconv.Atoi(x.text); err != nil {
			return a, err
		}
	}
	return a, nil
}

// start starts bgpd, and before it zebra, of which bgpd learns what links there are:
// without, it takes an IPv6 route with a link-local next hop for an error and ends the
// session (FRR 8.4).
func (k *keeper) start() (zebra, bgpd *daemon, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, nil, fmt.Errorf("give up new privileges: %w", err)
	}
	argv := []string{"-S", "-P", "0", "-i", "bgpd.pid", "--vty_socket", ".", "--log", "stdout"}
	if k.same {
		zebra = &daemon{}
		bgpd, err = run(bgpdPath, bgpdVTY, k.now, nil, nil, append(argv, "-Z"))
		return zebra, bgpd, err
	}
	a, err := frr()
	if err != nil {
		return nil, nil, err
	}
	if err := os.Chown(".", a.uid, a.gid); err != nil {
		return nil, nil, err
	}
	if zebra, err = startZebra(a); err != nil {
		return nil, nil, err
	}
	bgpd, err = run(bgpdPath, bgpdVTY, k.now, &a, &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)},
		AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE},
	}, append(argv, "-n", "-z", "./"+zebraAPI)) // -n: no route is zebra's to install
	if err != nil {
		zebra.stop()
	}
	return zebra, bgpd, err
}

// startZebra starts zebra in a user namespace of its own: it wants to administer the
// network, and so may read what links and routes there are, which anybody may, and
// change nothing.
func startZebra(a account) (*daemon, error) {
	maps := func(ids ...int) (out []syscall.SysProcIDMap) {
		for _, id := range ids {
			out = append(out, syscall.SysProcIDMap{ContainerID: id, HostID: id, Size: 1})
		}
		return out
	}
	return run(zebraPath, zebraAPI, zebraConf, &a, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: maps(a.uid), GidMappings: maps(a.gid, a.vty), GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid), Groups: []uint32{uint32(a.vty)}},
		// What it insists on having; all of it is worth nothing outside that namespace.
		AmbientCaps: []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN},
	}, []string{"-u", frrUser, "-g", frrUser, "-P", "0", "-z", "./" + zebraAPI, "-i", "zebra.pid", "--vty_socket", ".", "--log", "stdout"})
}

// run starts a daemon and waits for its socket. Its own copy of the configuration is
// read once: it may hold passwords.
func run(path, socket, conf string, a *account, attr *syscall.SysProcAttr, argv []string) (*daemon, error) {
	for _, old := range []string{"bgpd.conf", "zebra.conf", "conf", socket} { // of one that was killed
		_ = os.Remove(old)
	}
	// The directory is frr's since the last start: no link that lies there is followed.
	text, err := os.OpenFile("conf", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = text.Close()
		_ = os.Remove("conf")
	}()
	if _, err := text.WriteString(conf); err != nil {
		return nil, err
	}
	if a != nil {
		if err := text.Chown(a.uid, a.gid); err != nil {
			return nil, err
		}
	}
	// bgpd makes a path whole, and that leads through our directories.
	cmd := exec.Command(path, append([]string{"-f", "/proc/self/fd/3"}, argv...)...)
	cmd.ExtraFiles = []*os.File{text}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if cmd.SysProcAttr = attr; attr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, errNoFRR
		}
		return nil, err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		close(ended) // whoever asks again hears that it has
	}()
	for end := time.Now().Add(startTime); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return &daemon{cmd, ended}, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%s does not start: %w", path, errors.Join(err, errors.New("see its log")))
		default:
		}
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			return nil, fmt.Errorf("%s does not answer", path)
		}
	}
}
