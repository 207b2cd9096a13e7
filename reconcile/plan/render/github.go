package render

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"weft.dev/reconcile/plan"
	"weft.dev/schema"
)

// JSON writes r itself, versioned, for machines.
func JSON(w io.Writer, r *plan.Report) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// place is where an annotation stands.
type place struct {
	level string
	file  string
	line  int
}

// note is one annotation: all there is to say of one place.
type note struct {
	place
	messages []string
}

// levels in the order in which annotations come: GitHub shows the first ten of
// a step only.
func levels() []string { return []string{"error", "warning", "notice"} }

// GitHub writes workflow commands: first the summary, then those that annotate the
// lines of documents, one for each line and level. Checks that failed are errors;
// disruptions, blocked resources and what opens to the internet are warnings.
func GitHub(w io.Writer, r *plan.Report) error {
	notes := map[place]*note{}
	add := func(level string, s plan.Source, message string) {
		at := place{level, s.File, s.Line}
		if notes[at] == nil {
			notes[at] = &note{place: at}
		}
		notes[at].messages = append(notes[at].messages, message)
	}
	for _, c := range r.Checks {
		if level := checkLevel(c.Status); level != "" {
			add(level, c.Source, fmt.Sprintf("%s %s: %s", c.Name, c.Status, c.Message))
		}
	}
	for _, h := range held(r) {
		add("warning", plan.Source{}, fmt.Sprintf("%s is left as it is: %s", h.Owner, h.Reason))
	}
	for _, p := range r.Hosts {
		noteHost(p, add)
	}
	list := make([]*note, 0, len(notes))
	for _, n := range notes {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *note) int {
		return cmp.Or(
			cmp.Compare(slices.Index(levels(), a.level), slices.Index(levels(), b.level)),
			cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line),
		)
	})
	out := bufio.NewWriter(w)
	for i, s := range Summary(r) {
		level, title := "notice", "weft plan"
		if i > 0 {
			title = "weft reachability"
			if len(r.Reachability.Exposed) > 0 {
				level = "warning"
			}
		}
		_, _ = fmt.Fprintln(out, Annotation(level, schema.Pos{}, title, s))
	}
	for _, n := range list {
		_, _ = fmt.Fprintln(out, n.command())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

func noteHost(p *plan.Plan, add func(level string, s plan.Source, message string)) {
	if p.Frozen != "" {
		add("warning", plan.Source{}, fmt.Sprintf("%s is frozen: %s", p.Host, p.Frozen))
	}
	for _, a := range p.Actions {
		if a.Implied {
			continue
		}
		level, words := "notice", fmt.Sprintf("%s: %s: %s %s", p.Host, phaseWords([]*plan.Action{a}), a.Verb, a.ID)
		if a.Disrupts != "" {
			level, words = "warning", words+" ! "+a.Disrupts
		}
		add(level, a.Source(p.Revision), words)
	}
	for _, b := range p.Blocked {
		add("warning", b.Source, fmt.Sprintf("%s: %s cannot be made: %s", p.Host, b.ID, b.Reason))
	}
	for _, u := range p.Unread {
		add("warning", plan.Source{}, fmt.Sprintf("%s: %s could not be read: %s", p.Host, unreadWords(u), u.Err))
	}
}

func checkLevel(s plan.Status) string {
	switch s {
	case plan.Failed, plan.Denied:
		return "error"
	case plan.Warned:
		return "warning"
	case plan.Passed:
	}
	return ""
}

// mostMessages is how many resources one annotation lists.
const mostMessages = 20

func (n *note) command() string {
	list := n.messages
	if len(list) > mostMessages {
		list = append(slices.Clone(list[:mostMessages]), fmt.Sprintf("and %d more", len(n.messages)-mostMessages))
	}
	lines := make([]string, len(list))
	for i, l := range list {
		lines[i] = clean(l)
	}
	return Annotation(n.level, schema.Pos{File: n.file, Line: n.line}, "weft plan", strings.Join(lines, "\n"))
}

// Annotation is a workflow command: an error, warning or notice at a place, which may be
// zero or in parts. Text may have lines. Nothing that users wrote begins a command of its
// own, or controls a terminal that shows the log.
func Annotation(level string, at schema.Pos, title, text string) string {
	place := ""
	if at.File != "" {
		place = "file=" + property(clean(at.File)) + ","
		if at.Line > 0 {
			place += fmt.Sprintf("line=%d,", at.Line)
		}
		if at.Col > 0 {
			place += fmt.Sprintf("col=%d,", at.Col)
		}
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return fmt.Sprintf("::%s %stitle=%s::%s", level, place, property(clean(title)), message(strings.Join(lines, "\n")))
}

// message escapes the text of a workflow command, property one of its
// properties, as the runner undoes it.
func message(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func property(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}
