// Command weft reconciles the networks of KVM hosts with a Git repository of
// YAML: it validates, plans, applies and keeps them so. One file per verb; it
// wires and prints, and decides nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	if code, ok := reexec(os.Args); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// An exit ends the program with a code; err, if any, is printed first.
type exit struct {
	code int
	err  error
}

// Error implements error.
func (e exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

// Unwrap implements errors.Is.
func (e exit) Unwrap() error { return e.err }

// The exit codes of all verbs (cli.md).
const (
	exitError   = 1 // invalid input, or the world failed
	exitDiffers = 2 // there are changes, drift, or a denied packet
	exitDenied  = 3 // a policy forbids it
	exitRolled  = 4 // the change was rolled back
	exitStale   = 5 // stale plan, lock held, or another tree is followed
	exitOK      = 0
)

// codeOf turns what a verb returned into the exit code, reporting errors.
func codeOf(err error, report func(error)) int {
	if err == nil {
		return exitOK
	}
	var e exit
	if !errors.As(err, &e) {
		report(err)
		return exitError
	}
	if e.err != nil {
		report(err) // with what was wrapped around it
	}
	return e.code
}
