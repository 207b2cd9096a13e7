package fw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weft.dev/reconcile/host"
	"weft.dev/reconcile/resource"
)

// write makes the chains of jobs, all of one family, true, at no moment with more let
// through than before and after. It changes all of a table or nothing.
func (x *site) write(ctx context.Context, family int, jobs []*job, kernel tables) error {
	rest, err := x.hold(jobs)
	if err != nil {
		return err
	}
	sections, err := x.passage(family, jobs, kernel)
	if err != nil {
		return err
	}
	if err := x.restore(ctx, family, sections); err != nil {
		return err
	}
	for _, j := range jobs {
		if !j.step.Drop {
			j.err = x.end(family, j)
		}
	}
	if len(rest) > 0 {
		if err := x.restore(ctx, family, rest); err != nil {
			return err
		}
	}
	for _, j := range jobs {
		if j.step.Drop {
			delete(x.note.Chains, j.step.ID().Name)
		}
	}
	for _, j := range jobs {
		if !j.step.Drop {
			x.wrote = append(x.wrote, j)
		}
	}
	return nil
}

// restore writes sections.
func (x *site) restore(ctx context.Context, family int, sections []section) error {
	text := restoreText(sections)
	x.touched = true
	_, err := x.d.host.Run(ctx, x.space.Name, text, x.tools.families[family].restore, "--noflush", "-w", strconv.Itoa(lockWait))
	if err != nil {
		return pointAt(err, text)
	}
	return nil
}

var lineNumber = regexp.MustCompile(`line:? (\d+)`)

// pointAt adds the line of the text that a restore program complains about.
func pointAt(err error, text []byte) error {
	var cmd *host.CommandError
	if !errors.As(err, &cmd) {
		return err
	}
	m := lineNumber.FindStringSubmatch(cmd.Log)
	if m == nil {
		return err
	}
	n, _ := strconv.Atoi(m[1])
	lines := bytes.Split(text, []byte("\n"))
	if n < 1 || n > len(lines) {
		return err
	}
	why := ""
	for line := range strings.Lines(cmd.Log) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Try `") && !strings.HasPrefix(line, "Error occurred") && line != cmd.Stderr {
			why = ": " + line
		}
	}
	return fmt.Errorf("%w%s, in %q", err, why, lines[n-1])
}

// alone handles the one chain that could not be written: where it was to be
// dropped, something that nobody asked for may still jump to it.
func (x *site) alone(family int, j *job, err error) {
	j.err = err
	if !j.step.Drop || j.edit.builtin() {
		return
	}
	c := j.edit.chain
	f := x.tools.families[family]
	cleared := x.d.host.In(x.space.Name, func() error { return unhook(f, c.Table, c.Name) })
	if cleared == nil {
		j.err = nil
		delete(x.note.Chains, j.step.ID().Name)
		return
	}
	j.err = errors.Join(err, cleared)
}

// unhook drops a chain with every rule that jumps to it, in the namespace of the
// calling thread.
func unhook(f family, table, name string) error {
	chains, err := f.tables.ListChains(table)
	if err != nil {
		return err
	}
	if !slices.Contains(chains, name) {
		return nil
	}
	for _, c := range chains {
		rules, err := f.tables.List(table, c)
		if err != nil {
			return err
		}
		for i := len(rules) - 1; i >= 1; i-- { // the first line is the chain itself
			words := strings.Fields(rules[i])
			if n := len(words); n >= 2 && words[n-1] == name && (words[n-2] == "-j" || words[n-2] == "-g") {
				if err := f.tables.DeleteById(table, c, i); err != nil {
					return err
				}
			}
		}
	}
	return f.tables.ClearAndDeleteChain(table, name)
}

// finish notes what the kernel made of what was written.
func (x *site) finish(ctx context.Context) error {
	if x.touched {
		kernel, err := x.d.read(ctx, x.tools, x.space)
		if err != nil {
			return err
		}
		for _, j := range x.wrote {
			if j.err == nil {
				j.err = x.record(j, kernel)
			}
		}
		m := x.d.memory(x.space.Name)
		m.mu.Lock()
		if m.known && m.cookie == x.space.Cookie && x.note.covers(m.kernel) {
			x.note.Print = m.print
		}
		m.mu.Unlock()
	}
	return x.d.store(x.space, x.note)
}

// record notes one chain, after a look whether it is the one that was written:
// two that write the same chain at once would otherwise note each other's.
func (x *site) record(j *job, kernel tables) error {
	id := j.step.ID()
	c := kernel[id]
	if c == nil || len(c.rules) != len(j.edit.lines) || j.edit.builtin() && c.policy != j.edit.policy() {
		delete(x.note.Chains, id.Name)
		return fmt.Errorf("%s was changed by somebody else right after it was written", id)
	}
	st, _ := j.step.State().(resource.Chain)
	x.note.Chains[id.Name] = written{Owner: j.step.Owner(), Chain: st, Text: c.text()}
	return nil
}

func find(sets []kset, name string) *kset {
	for i := range sets {
		if sets[i].name == name {
			return &sets[i]
		}
	}
	return nil
}

// ipset runs the lines of text. A spare set that a crash left is removed first.
func (x *site) ipset(ctx context.Context, text []byte, stale bool) error {
	if stale {
		text = append([]byte("destroy "+spareSet+"\n"), text...)
	}
	if _, err := x.d.host.Run(ctx, x.space.Name, text, "ipset", "restore"); err != nil {
		return pointAt(err, text)
	}
	return nil
}

// dropSets removes sets; one that is not there is no error.
func (x *site) dropSets(ctx context.Context, jobs []*job) {
	have, err := readSets(x.space)
	if err != nil {
		fail(jobs, err)
		return
	}
	for _, j := range jobs {
		_, name, _ := strings.Cut(j.step.ID().Name, "/")
		if find(have, name) != nil {
			if !setName.MatchString(name) {
				j.err = fmt.Errorf("set %q was not made by weft and its name cannot be written", name)
				continue
			}
			if _, j.err = x.d.host.Run(ctx, x.space.Name, nil, "ipset", "destroy", name); j.err != nil {
				continue
			}
		}
		delete(x.note.Sets, name)
	}
}
