package bgp

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"
)

// What a command may end with (lib/command.h of FRR): CMD_SUCCESS, CMD_WARNING, and
// CMD_ERR_NOTHING_TODO.
var fine = map[byte]bool{0: true, 1: true, 6: true}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// command has a daemon of FRR run commands at its own socket, as vtysh does, and returns
// what the last one said: each ends with a NUL, and its answer with three and a status.
func command(path string, list []string) (text string, err error) {
	conn, err := net.DialTimeout("unix", path, askTime)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(askTime)); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	for _, line := range list {
		if _, err := conn.Write(append([]byte(line), 0)); err != nil {
			return "", err
		}
		var status byte
		text, status, err = answer(in)
		if err != nil {
			return "", fmt.Errorf("%s: %w", secretless(line), err)
		}
		if !fine[status] { // what it says may repeat the command
			return "", fmt.Errorf("%s: status %d: %s", secretless(line), status, secretless(strings.TrimSpace(text)))
		}
	}
	return text, nil
}

// answer reads what a command says.
func answer(in *bufio.Reader) (text string, status byte, err error) {
	var out []byte
	for !bytes.HasSuffix(out, []byte{0, 0, 0}) {
		b, err := in.ReadByte()
		if err != nil {
			return "", 0, err
		}
		if out = append(out, b); len(out) > maxAnswer {
			return "", 0, fmt.Errorf("it says more than %d bytes", maxAnswer)
		}
	}
	status, err = in.ReadByte()
	return string(out[:len(out)-3]), status, err
}

// secretless is a command as it may be told.
func secretless(line string) string {
	before, _, found := strings.Cut(line, " password ")
	if found {
		return before + " password ..."
	}
	return line
}
