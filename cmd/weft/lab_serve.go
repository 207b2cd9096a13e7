package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The hidden verbs of machines of the demo: one says its name to whoever connects, one
// answers whoever asks, as a member of a balancer.
const (
	answerVerb = "lab-answer"
	serveVerb  = "lab-serve"
)

// server has a machine run one of the hidden verbs until stop is called; it is ready
// when server returns.
func (k *checker) server(ctx context.Context, node string, args ...string) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line, err := k.lab.Command(ctx, node, "", append([]string{self}, args...))
	if err != nil {
		return nil, err
	}
	srv := exec.CommandContext(ctx, line[0], line[1:]...)
	in, err := srv.StdinPipe() // who enters the machine is killed, what it started there ends with its input
	if err != nil {
		return nil, err
	}
	ready, err := srv.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := srv.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = in.Close()
		_ = srv.Wait()
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		stop()
		return nil, fmt.Errorf("no server in %s: %w", node, err)
	}
	return stop, nil
}

// untilInputEnds ends the process with its standard input.
func untilInputEnds() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(exitOK)
	}()
}

// runAnswer is the hidden verb: it says the name of the machine that it runs in to
// whoever connects to a TCP port.
func runAnswer(args []string) int {
	if len(args) != 1 {
		return exitError
	}
	untilInputEnds()
	name, _ := os.Hostname()
	err := accept(":"+args[0], func(c net.Conn) { fmt.Fprintln(c, name) })
	fmt.Fprintln(os.Stderr, err)
	return exitError
}

// runServe is the hidden verb: it answers every request on a port with the name of
// the machine that it runs in, as an HTTP server or with a datagram.
func runServe(args []string) int {
	if len(args) != 2 {
		return exitError
	}
	name, _ := os.Hostname()
	untilInputEnds()
	serve := serveTCP
	if args[0] == "udp" {
		serve = serveUDP
	}
	if err := serve(":"+args[1], name); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return exitError
}

// sharedPort lets several serve at one port: checks are made at once, and members may be
// those of several balancers.
var sharedPort = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(err, failed)
}}

// accept serves each connection to a TCP port.
func accept(at string, serve func(net.Conn)) error {
	l, err := sharedPort.Listen(context.Background(), "tcp", at)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			serve(c)
		}()
	}
}

func serveTCP(at, name string) error {
	return accept(at, func(c net.Conn) {
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if lines.Text() == "" { // the end of a request, whatever stands before it
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s\n", len(name)+1, name)
				return
			}
		}
	})
}

func serveUDP(at, name string) error {
	c, err := sharedPort.ListenPacket(context.Background(), "udp", at)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	for b := make([]byte, 64); ; {
		_, from, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		_, _ = c.WriteTo([]byte(name+"\n"), from)
	}
}
