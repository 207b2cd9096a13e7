package vpn

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
)

// L2TPSocket is where the server of L2TP tells how it is: asked "server", with Serves, and
// else how the VPN is, which may be in want of what is not the server's, its IPsec.
const (
	L2TPSocket = "@weft-l2tp"
	Serves     = "Serves"
	askServer  = "server"
)

// An l2tp has xl2tpd and the pppd of each user do what the files say.
type l2tp struct {
	dir   *os.Root // as it was before this process' own directories hid it
	vpn   string
	users map[string]l2tpUser
	roll  sessions
	line  *exec.Cmd // xl2tpd, which all pppd are below
}

// An l2tpUser is one line of the file "users".
type l2tpUser struct {
	Name     string `json:"user"`
	File     string `json:"file"` // of the password, from the directory
	password []byte // nil where there is none that can be used
	bad      error  // why what the file says cannot be
}

func serveL2TP(args []string) error {
	var l l2tp
	dir, test := "", false
	f := flag.NewFlagSet(L2TPVerb, flag.ContinueOnError)
	f.StringVar(&dir, "dir", "", "directory of xl2tpd.conf, options and users")
	f.StringVar(&l.vpn, "vpn", "", "ACCOUNT/NAME of the VPN")
	f.BoolVar(&test, "test", false, "read the files, and end")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err error
	if l.dir, err = os.OpenRoot(dir); err != nil {
		return err
	}
	if l.users, err = l.read(); err != nil || test {
		return err
	}
	return l.run()
}

func (l *l2tp) run() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	for _, program := range []string{"xl2tpd", "pppd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed (Debian: xl2tpd, ppp)", program)
		}
	}
	if err := errors.Join(enclose(), l.write()); err != nil {
		return err
	}
	ended, err := l.start()
	if err != nil {
		return err
	}
	stop := func(err error) error {
		_ = l.line.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(2 * time.Second):
			_ = l.line.Process.Kill()
			<-ended
		}
		return err
	}
	l.roll.put(l.users)
	if err := host.Tell(L2TPSocket, l.answer); err != nil {
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
			if err := l.again(); err != nil {
				fmt.Fprintln(os.Stderr, "l2tp: what was read before stays:", err)
			}
		case <-tick.C:
			l.roll.look()
			relate(os.Stderr)
		case err := <-ended:
			relate(os.Stderr)
			if err == nil {
				err = errors.New("exit status 0")
			}
			return fmt.Errorf("xl2tpd ended: %w", err)
		}
	}
}

func (l *l2tp) answer(line string) string {
	if line == askServer {
		return Serves
	}
	return l.roll.answer(outer(l.vpn))
}

// The directories that are the process' own: pppd has one place for secrets, and one for
// what is to be run when a link comes up, on a whole host.
const (
	pppDir = "/etc/ppp"
	runDir = "/run"
	upDir  = runDir + "/up"
	pppLog = runDir + "/ppp.log"
)

// enclose gives the process, and what it starts, such directories of its own.
func enclose() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("file systems of its own: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("file systems of its own: %w", err)
	}
	for _, dir := range []string{pppDir, runDir} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700,size=4m"); err != nil {
			return fmt.Errorf("a %s of its own: %w", dir, err)
		}
	}
	return errors.Join(os.Mkdir(upDir, 0o700), os.Mkdir(filepath.Join(runDir, "lock"), 0o700))
}

// What pppd runs with a link that is there, and that is gone. The names are those that users
// proved to be.
const (
	upScript = "#!/bin/sh\n" +
		"echo 1 >\"/proc/sys/net/ipv4/conf/$1/rp_filter\"\n" + // nobody has another one's address
		"printf '%s\\n%s\\n%s\\n' \"$PEERNAME\" \"$PPPD_PID\" \"$5\" >\"" + upDir + "/.$1\" && mv \"" + upDir + "/.$1\" \"" + upDir + "/$1\"\n"
	downScript = "#!/bin/sh\nrm -f \"" + upDir + "/$1\"\n"
)

// write makes what xl2tpd and pppd read.
func (l *l2tp) write() error {
	conf, err := fs(l.dir, "xl2tpd.conf")
	if err != nil {
		return err
	}
	options, err := fs(l.dir, "options")
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"xl2tpd.conf": string(conf), "options.l2tp": string(options), "options": "", "chap-secrets": secretsOf(l.users), "pap-secrets": "", "l2tp-secrets": "",
	} {
		if err := os.WriteFile(filepath.Join(pppDir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"ip-up": upScript, "ip-down": downScript} {
		if err := os.WriteFile(filepath.Join(pppDir, name), []byte(text), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// start starts xl2tpd as the first of its own processes, so that every pppd ends with it.
func (l *l2tp) start() (<-chan error, error) {
	l.line = exec.Command("xl2tpd", "-D", "-c", pppDir+"/xl2tpd.conf", "-s", pppDir+"/l2tp-secrets", "-p", runDir+"/xl2tpd.pid", "-C", runDir+"/l2tp-control")
	l.line.Stdout, l.line.Stderr = os.Stderr, os.Stderr
	l.line.Dir = "/"
	l.line.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID}
	if err := l.line.Start(); err != nil {
		return nil, fmt.Errorf("xl2tpd: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- l.line.Wait()
		close(ended)
	}()
	return ended, nil
}

// again takes in the users as they are now; who is none any more, or has another password,
// is out, and who is on the way in has to try again.
func (l *l2tp) again() error {
	next, err := l.read()
	if err != nil {
		return err
	}
	keep(l.users, next)
	path := filepath.Join(pppDir, "chap-secrets")
	if err := errors.Join(os.WriteFile(path+".new", []byte(secretsOf(next)), 0o600), os.Rename(path+".new", path)); err != nil {
		return err
	}
	out := map[string]bool{}
	for name, u := range l.users {
		if now, ok := next[name]; !ok || !bytes.Equal(now.password, u.password) {
			out[name] = true
		}
	}
	if len(out) > 0 {
		l.roll.end(out, l.line.Process.Pid)
	}
	l.users = next
	l.roll.put(next)
	return nil
}

// keep has users who have no password that can be used have the one that they had.
func keep(now, next map[string]l2tpUser) {
	for name, u := range next {
		if old := now[name].password; u.password == nil && old != nil {
			u.password, u.bad = old, fmt.Errorf("the one before stays: %w", u.bad)
			next[name] = u
		}
	}
}

// fs reads a file below a directory.
func fs(dir *os.Root, name string) ([]byte, error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", name, maxFile)
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// read reads the users. A password that cannot be one is told, and no mistake of the others.
func (l *l2tp) read() (map[string]l2tpUser, error) {
	b, err := fs(l.dir, "users")
	if err != nil {
		return nil, err
	}
	out := map[string]l2tpUser{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		var u l2tpUser
		if err := json.Unmarshal(lines.Bytes(), &u); err != nil {
			return nil, fmt.Errorf("users, line %d: %w", n, err)
		}
		if _, twice := out[u.Name]; twice {
			return nil, fmt.Errorf("users, line %d: %s is there twice", n, u.Name)
		}
		if u.password, u.bad = fs(l.dir, u.File); u.bad == nil {
			u.bad = passable(u.password)
		}
		if u.bad != nil {
			u.password = nil
		}
		out[u.Name] = u
	}
	return out, lines.Err()
}

// maxPassword is what pppd takes of one (MAXSECRETLEN), less the end.
const maxPassword = 255

// passable says why pppd would not take the password as it is.
func passable(p []byte) error {
	switch {
	case len(p) == 0:
		return errors.New("it is empty")
	case len(p) > maxPassword:
		return fmt.Errorf("it has more than %d bytes", maxPassword)
	case bytes.IndexByte(p, 0) >= 0:
		return errors.New("it has a zero byte")
	case bytes.HasPrefix(p, []byte("@/")):
		return errors.New("it begins with @/, which pppd takes for the name of a file")
	}
	return nil
}

// secretsOf is the file chap-secrets: every byte in a way that has no other meaning.
func secretsOf(users map[string]l2tpUser) string {
	var b strings.Builder
	for _, name := range sorted(users) {
		if u := users[name]; u.password != nil {
			fmt.Fprintf(&b, "%s weft %s *\n", quoted([]byte(name)), quoted(u.password))
		}
	}
	return b.String()
}

func quoted(text []byte) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "\\%03o", c)
		}
	}
	return b.String() + "\""
}

// outer is what the keeper of charon says of the VPN's IPsec, where it is not well.
func outer(vpn string) (state, reason string) {
	c, err := net.Dial("unix", IPsecSocket)
	if err != nil {
		return "", "" // its own probe tells
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintln(c, vpn); err != nil {
		return "", ""
	}
	line, _ := bufio.NewReader(io.LimitReader(c, maxFile)).ReadString('\n')
	state, reason, _ = strings.Cut(strings.TrimSpace(line), " ")
	return state, reason
}

// relate hands on what pppd logged.
func relate(to io.Writer) {
	f, err := os.OpenFile(pppLog, os.O_RDWR, 0)
	if err != nil {
		return // nobody was in yet
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(io.LimitReader(f, maxFile))
	for lines.Scan() {
		_, _ = fmt.Fprintln(to, "pppd:", lines.Text())
	}
	_ = f.Truncate(0)
}
