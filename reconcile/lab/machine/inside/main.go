// Command inside runs a command in a machine of its own, whose kernel has all its modules (see package machine): in the
// same directory, with the same WEFT_ environment. It is made for go test -exec.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"weft.dev/reconcile/lab/machine"
)

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		status = 1
	}
	os.Exit(status)
}

func run(argv []string) (status int, err error) {
	if len(argv) == 0 {
		return 0, fmt.Errorf("usage: inside COMMAND [ARGUMENT...]")
	}
	if err := machine.Missing(); err != nil {
		return 0, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	m, err := machine.Boot(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = m.Close() }()
	command := []string{"env", "-C", dir, machine.Variable + "=yes"}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "WEFT_") {
			command = append(command, v)
		}
	}
	return m.Run(append(command, argv...), os.Stdout)
}
