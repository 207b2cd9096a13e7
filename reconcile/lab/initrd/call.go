package initrd

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Call runs a command in a guest over its channel Exec and writes its output, standard error included, to out as it comes.
// The command has no standard input. The status is what a shell says: 127 for a program that is not there. A command that an
// earlier caller left is killed. It returns early when conn breaks.
func Call(conn io.ReadWriter, argv []string, out io.Writer) (status int, err error) {
	id := strings.ToLower(rand.Text())
	script := base64.StdEncoding.EncodeToString([]byte(shell(argv)))
	if _, err := fmt.Fprintf(conn, "%s %s\n", id, script); err != nil {
		return 0, err
	}
	in := bufio.NewReader(conn)
	if _, err := until(in, io.Discard, "\n"+id+" begin\n"); err != nil {
		return 0, fmt.Errorf("the guest does not answer: %w", err)
	}
	if _, err := until(in, out, "\n"+id+" end "); err != nil {
		return 0, fmt.Errorf("the command did not end: %w", err)
	}
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSuffix(line, "\n"))
}

// shell is a command line of words that a shell takes as they are.
func shell(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}

// until copies to out what comes before the mark, as far as it is known not to be of the mark.
func until(in *bufio.Reader, out io.Writer, mark string) (int64, error) {
	var pending []byte
	var n int64
	pass := func(k int) error {
		m, err := out.Write(pending[:k])
		n += int64(m)
		pending = pending[k:]
		return err
	}
	for {
		b, err := in.ReadByte()
		if err != nil {
			return n, errors.Join(err, pass(len(pending)))
		}
		pending = append(pending, b)
		if bytes.HasSuffix(pending, []byte(mark)) {
			return n, pass(len(pending) - len(mark))
		}
		if in.Buffered() == 0 || len(pending) > 1<<16 {
			if k := len(pending) - overlap(pending, mark); k > 0 {
				if err := pass(k); err != nil {
					return n, err
				}
			}
		}
	}
}

// overlap is how many bytes at the end of text could be the beginning of mark.
func overlap(text []byte, mark string) int {
	for k := min(len(mark)-1, len(text)); k > 0; k-- {
		if bytes.HasSuffix(text, []byte(mark[:k])) {
			return k
		}
	}
	return 0
}
