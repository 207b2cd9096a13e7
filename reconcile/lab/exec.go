package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"weft.dev/reconcile/host/facts"
	"weft.dev/reconcile/lab/node"
)

// The hidden verbs by which this program starts itself.
const (
	supervisorVerb = "lab-supervisor"
	nodeVerb       = "lab-node"
	enterVerb      = "lab-enter"
	guestVerb      = "lab-guest"
)

// NameVar is the environment variable that holds the lab's name in everything that runs in a node.
const NameVar = facts.LabVariable

// Main does the work of a hidden verb of the lab, if args (of the program, without its name) begin with one; ours says
// whether they do. A program that starts labs calls it before anything else and exits with code.
func Main(args []string) (code int, ours bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch args[0] {
	case supervisorVerb:
		return Supervisor(context.Background(), args[1:]), true
	case nodeVerb:
		return NodeInit(args[1:]), true
	case enterVerb:
		return enter(args[1:]), true
	case guestVerb:
		return callGuest(args[1:]), true
	}
	return 0, false
}

// NodeInit is PID 1 of a node, whose name is args[0]; a supervisor starts it.
func NodeInit(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "a node takes its name")
		return 2
	}
	return node.Run(args[0])
}

// Command returns the command line that runs argv in a node of the lab: ACCOUNT/VM, host/NAME,
// internet, or router/ACCOUNT/NETWORK-OR-VPC, of which host picks one of several. Started by any means it takes the
// caller's standard streams and terminal and ends with argv's exit status. A guest that is a real machine runs one command at
// a time, without standard input or terminal, and with its standard error in the standard output.
func (c *Client) Command(ctx context.Context, name, host string, argv []string) ([]string, error) {
	var at Place
	if err := c.call(ctx, "Find", Find{Name: name, Host: host}, &at); err != nil {
		return nil, err
	}
	nsenter, err := node.Look("nsenter")
	if err != nil {
		return nil, err
	}
	line := []string{nsenter}
	ns := c.process(at) + "/ns/"
	if os.Geteuid() != 0 {
		line = append(line, "--preserve-credentials", "--user="+ns+"user")
	}
	line = append(line, "--mount="+ns+"mnt", "--uts="+ns+"uts", "--ipc="+ns+"ipc", "--net="+ns+"net", "--pid="+ns+"pid", "--")
	wd, err := os.Getwd()
	if err != nil {
		wd = "/"
	}
	line = append(line, node.Dir+"/bin/weft", enterVerb, c.Name, wd)
	if at.Netns != "" {
		line = append(line, "ip", "netns", "exec", at.Netns)
	}
	if at.Guest != "" {
		line = append(line, "weft", guestVerb, at.Guest)
	}
	return append(line, argv...), nil
}

// process is the directory of a node's PID 1 as seen from here: the supervisor's /proc names it by the pid that the
// supervisor knows.
func (c *Client) process(at Place) string { return fmt.Sprintf("/proc/%d/root/proc/%d", c.pid, at.Pid) }

// Path names a file or socket in a node, such as the control socket of a host's agent, for use from outside. It is good for
// the present life of the node.
func (c *Client) Path(ctx context.Context, name, path string) (string, error) {
	var at Place
	if err := c.call(ctx, "Find", Find{Name: name}, &at); err != nil {
		return "", err
	}
	return c.process(at) + "/root" + filepath.Clean("/"+path), nil
}

// Exec replaces this process by argv in a node; see Command. It returns only an error.
func (c *Client) Exec(ctx context.Context, name, host string, argv []string) error {
	if len(argv) == 0 {
		return errors.New("there is no command to run")
	}
	line, err := c.Command(ctx, name, host, argv)
	if err != nil {
		return err
	}
	return syscall.Exec(line[0], line, os.Environ())
}

// enter is the last step of Command, in the node: args are the lab, the working directory, if the node has it, and the
// command. Exit codes 126 and 127 are a shell's.
func enter(args []string) int {
	if len(args) < 3 {
		return 2
	}
	lab, wd, argv := args[0], args[1], args[2:]
	if os.Chdir(wd) != nil {
		_ = os.Chdir("/")
	}
	if err := errors.Join(os.Setenv("PATH", node.Path), os.Setenv(NameVar, lab)); err != nil {
		panic(err) // no NUL in them
	}
	path, err := exec.LookPath(argv[0])
	if err == nil {
		err = syscall.Exec(path, argv, os.Environ())
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", argv[0], err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return 127
	}
	return 126
}
