package host

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	// tellTime bounds how long who asks may take.
	tellTime = 5 * time.Second
	// pauseTime passes before who waits to ask is looked for again.
	pauseTime = 100 * time.Millisecond
)

// Tell answers at a socket until the process ends: to a line, with what answer makes of
// it. "@..." is an abstract socket, of which each namespace has its own.
func Tell(socket string, answer func(line string) string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil { // there are too many files: it is not closed
				time.Sleep(pauseTime)
				continue
			}
			go func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(tellTime))
				line, _ := bufio.NewReaderSize(c, 256).ReadSlice('\n')
				_, _ = fmt.Fprintln(c, answer(strings.TrimSpace(string(line))))
			}()
		}
	}()
	return nil
}
