package balance

import (
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// statsSocket is the abstract socket that the configuration names: HAProxy fills up the
// name with zeros (sun_path).
var statsSocket = "@weft-lb" + strings.Repeat("\x00", 100)

// maxReply bounds what is read of one answer.
const maxReply = 1 << 20

// ask asks the worker that takes new connections.
func ask(command string) (string, error) {
	c, err := net.DialTimeout("unix", statsSocket, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, command+"\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(c, maxReply))
	return string(b), err
}

var (
	pidLine   = regexp.MustCompile(`(?m)^Pid: (\d+)$`)
	peersLine = regexp.MustCompile(`id=` + localPeer + ` disabled=\d+ flags=0x([0-9a-f]+)`)
	usedLine  = regexp.MustCompile(`used:[1-9]`)
)

// worker is the process that takes new connections.
func worker() (string, error) {
	out, err := ask("show info")
	if err != nil {
		return "", err
	}
	m := pidLine.FindStringSubmatch(out)
	if m == nil {
		return "", io.ErrUnexpectedEOF
	}
	return m[1], nil
}

// finished are the flags of a section of peers whose process has all tables
// (peers-t.h, PEERS_RESYNC_FINISHED).
const finished = 3

// learned reports whether the worker has all tables, of the one before it or because
// there is nobody to have them from.
func learned() bool {
	out, err := ask("show peers")
	if err != nil {
		return false
	}
	m := peersLine.FindStringSubmatch(out)
	if m == nil {
		return true // there are no tables
	}
	flags, err := strconv.ParseUint(m[1], 16, 64)
	return err == nil && flags&finished == finished
}

// remembers reports whether there is anything in a table.
func remembers() bool {
	out, err := ask("show table")
	return err != nil || usedLine.MatchString(out)
}
