package node

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A lease is what DHCP gave.
type lease struct {
	address netip.Prefix
	mtu     int
	routes  []Route
	dns     []netip.Addr
	domain  string
}

// script is what the DHCP client calls: it hands its environment to this process, one event at a time. A pipe's writes of
// up to 4096 bytes are whole, and longer ones have one writer only, since the client waits for its script.
const script = `#!/bin/sh
{ printf 'event=%s\0' "$1"; env -0; printf '\0'; } >"` + Dir + `/dhcp.$interface"
`

// Look finds a program of the system, also when an ordinary user's PATH lacks the directories of such.
func Look(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/local/sbin/", "/usr/sbin/", "/sbin/"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(dir + program)
	}
	return path, err
}

// Client returns the command of a DHCP client on this machine, or nil.
func Client() []string {
	if path, err := Look("udhcpc"); err == nil {
		return []string{path}
	}
	if path, err := Look("busybox"); err == nil {
		if out, err := exec.Command(path, "--list").Output(); err == nil && strings.Contains("\n"+string(out), "\nudhcpc\n") {
			return []string{path, "udhcpc"}
		}
	}
	return nil
}

// install writes the script that clients call. It is renamed into place: another link's client may be running it, or
// installing it.
func install(path, link, text string) error {
	next := path + ".new." + link
	if err := os.WriteFile(next, []byte(text), 0o755); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// startDHCP runs a DHCP client on the link.
func (c *nic) startDHCP() error {
	if err := install(Dir+"/dhcp", c.config.Link, script); err != nil {
		return err
	}
	fifo := Dir + "/dhcp." + c.config.Link
	if err := syscall.Mkfifo(fifo, 0o600); err != nil && !os.IsExist(err) {
		return err
	}
	events, err := os.OpenFile(fifo, os.O_RDWR, 0) // also to write: it never ends
	if err != nil {
		return err
	}
	go c.listen(bufio.NewReader(events))
	argv := slices.Concat(c.node.config.DHCP, []string{"-f", "-i", c.config.Link, "-s", Dir + "/dhcp", "-t", "3", "-T", "1", "-A", "1",
		"-O", "mtu", "-O", "staticroutes", "-O", "search", "-x", "hostname:" + c.config.Hostname})
	c.client, err = c.node.keep("dhcp-"+c.config.Link, argv, nil)
	if err != nil {
		return err
	}
	go c.hurry()
	return nil
}

// hurry has the client ask again soon in the first seconds of its life, in which the way to the server is being built: the
// client itself counts in whole seconds. The pauses grow because each question makes it deaf to answers to the one before.
func (c *nic) hurry() {
	for pause := 250 * time.Millisecond; pause < time.Second; pause += pause / 10 {
		time.Sleep(pause)
		if c.state().Lease {
			return
		}
		c.client.Signal(syscall.SIGUSR1)
	}
}

// listen applies what the client says until the node ends.
func (c *nic) listen(events *bufio.Reader) {
	for {
		event := map[string]string{}
		for {
			field, err := events.ReadString(0)
			if err != nil {
				slog.Error("dhcp client", "link", c.config.Link, "error", err)
				return
			}
			if field == "\x00" {
				break
			}
			key, value, _ := strings.Cut(strings.TrimSuffix(field, "\x00"), "=")
			event[key] = value
		}
		if err := c.take(event); err != nil {
			slog.Error("dhcp lease", "link", c.config.Link, "error", err)
		}
	}
}

// take applies one event of the client.
func (c *nic) take(event map[string]string) error {
	c.mu.Lock()
	changed, err := c.six.take6(event)
	c.mu.Unlock()
	if changed || err != nil {
		return errors.Join(err, c.apply())
	}
	var next lease
	switch event["event"] {
	case "bound", "renew":
		var err error
		if next, err = parseLease(event); err != nil {
			return err
		}
	case "deconfig":
	default: // leasefail, nak: a deconfig follows where something is lost
		return nil
	}
	c.mu.Lock()
	c.lease = next
	c.mu.Unlock()
	return c.apply()
}

var domainName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// parseLease reads the environment of a udhcpc script. A server may say anything.
func parseLease(event map[string]string) (lease, error) {
	var l lease
	ip, err := netip.ParseAddr(event["ip"])
	if err != nil {
		return l, fmt.Errorf("address: %w", err)
	}
	bits, err := strconv.Atoi(event["mask"])
	if err != nil || bits < 0 || bits > 32 {
		return l, fmt.Errorf("mask %q of %s", event["mask"], ip)
	}
	l.address = netip.PrefixFrom(ip, bits)
	if mtu, err := strconv.Atoi(event["mtu"]); err == nil && mtu >= 576 && mtu <= 65535 {
		l.mtu = mtu
	}
	for _, field := range strings.Fields(event["dns"]) {
		if a, err := netip.ParseAddr(field); err == nil {
			l.dns = append(l.dns, a)
		}
	}
	if domainName.MatchString(event["domain"]) {
		l.domain = event["domain"]
	}
	// RFC 3442: a client that was given classless routes ignores the router option.
	if l.routes = classless(event["staticroutes"]); l.routes == nil {
		for _, field := range strings.Fields(event["router"]) {
			if a, err := netip.ParseAddr(field); err == nil {
				l.routes = []Route{{To: everything(a), Via: a}}
				break
			}
		}
	}
	return l, nil
}

// classless reads "0.0.0.0/0 10.1.1.1 10.9.0.0/16 10.1.1.9".
func classless(text string) []Route {
	fields := strings.Fields(text)
	var routes []Route
	for i := 0; i+1 < len(fields); i += 2 {
		to, err1 := netip.ParsePrefix(fields[i])
		via, err2 := netip.ParseAddr(fields[i+1])
		if err1 == nil && err2 == nil {
			routes = append(routes, Route{To: to.Masked(), Via: via})
		}
	}
	return routes
}

// Renew has all DHCP clients of this guest ask for their lease again now.
func (n *Node) Renew(_ Void, _ *Void) error {
	n.mu.Lock()
	nics := n.nics
	n.mu.Unlock()
	for _, c := range nics {
		if c.client != nil {
			c.client.Signal(syscall.SIGUSR1)
		}
	}
	return nil
}

// writeInPlace replaces the text of a file that is a mount point and so cannot be renamed over.
func writeInPlace(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
