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

// write makes the chains of jobs, all of one family, true. It changes all of a
// table or nothing.
func (x *site) write(ctx context.Context, family int, jobs []*job, kernel tables) error {
	var edits []*edit
	for _, j := range jobs {
		edits = append(edits, j.edit)
	}
	text := restoreText(edits, kernel)
	x.touched = true
	_, err := x.d.host.Run(ctx, x.space.Name, text, x.tools.families[family].restore, "--noflush", "-w", strconv.Itoa(lockWait))
	if err != nil {
		return pointAt(err, text)
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

// makeSets makes sets in one go, and one by one if that fails.
func (x *site) makeSets(ctx context.Context, jobs []*job) {
	have, err := readSets(x.space)
	if err != nil {
		fail(jobs, err)
		return
	}
	var all []byte
	var good []*job
	texts := map[*job][]byte{}
	for _, j := range jobs {
		set, ok := j.step.State().(resource.AddrSet)
		if !ok {
			j.err = fmt.Errorf("fw driver: no way to make %s of %T", j.step.ID(), j.step.State())
			continue
		}
		if texts[j], j.err = renderSet(set, find(have, set.Name)); j.err == nil {
			all, good = append(all, texts[j]...), append(good, j)
		}
	}
	if len(good) == 0 {
		return
	}
	if err = x.ipset(ctx, all, find(have, spareSet) != nil); err != nil {
		for _, j := range good {
			j.err = err
			if len(good) == 1 {
				break
			}
			if have, j.err = readSets(x.space); j.err == nil {
				text, _ := renderSet(j.step.State().(resource.AddrSet), find(have, j.step.State().(resource.AddrSet).Name))
				j.err = x.ipset(ctx, text, find(have, spareSet) != nil)
			}
		}
	}
	for _, j := range good {
		if j.err == nil {
			set := j.step.State().(resource.AddrSet)
			x.note.Sets[set.Name] = madeSet{Owner: j.step.Owner(), Set: set}
		}
	}
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
