package render

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"weft.dev/reconcile/plan"
)

// Options say how text looks.
type Options struct {
	Color bool
	// Width is the terminal's; 0 is 80. Sources stand at its right margin.
	Width int
}

// The widths between which text adapts itself.
const (
	defaultWidth = 80
	leastWidth   = 40
	mostWidth    = 140
)

// Text writes r for a person at a terminal. The result depends on r and opt
// only.
func Text(w io.Writer, r *plan.Report, opt Options) error {
	t := newTerminal(w, opt)
	for _, p := range r.Hosts {
		rows := hostRows(p)
		if len(rows) == 0 {
			continue
		}
		t.host(p)
		t.rows(rows)
	}
	if rows := reportRows(r); len(rows) > 0 {
		t.rows(rows)
	}
	if t.wrote {
		t.line("")
	}
	for _, s := range Summary(r) {
		t.line(t.paint(bold, s))
	}
	return t.flush()
}

// Steps writes the steps of every host in the order in which they are done.
func Steps(w io.Writer, r *plan.Report, opt Options) error {
	t := newTerminal(w, opt)
	for _, p := range r.Hosts {
		if len(p.Steps) == 0 {
			continue
		}
		t.host(p)
		width := len(fmt.Sprint(len(p.Steps)))
		for i, s := range p.Steps {
			t.step(i, width, s)
		}
	}
	if t.wrote {
		t.line("")
	}
	for _, s := range Summary(r) {
		t.line(t.paint(bold, s))
	}
	return t.flush()
}

// terminal writes rows as text.
type terminal struct {
	w     *bufio.Writer
	color bool
	width int
	wrote bool
	right string // what stood at the right margin last
	err   error
}

func newTerminal(w io.Writer, opt Options) *terminal {
	width := opt.Width
	if width == 0 {
		width = defaultWidth
	}
	return &terminal{w: bufio.NewWriter(w), color: opt.Color, width: min(max(width, leastWidth), mostWidth)}
}

// The colours, as numbers of the ANSI sequence.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	purple = "35"
)

func (t *terminal) paint(color, s string) string {
	if !t.color || s == "" || color == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func colorOf(mark string) string {
	switch mark {
	case string(plan.Create):
		return green
	case string(plan.Update):
		return yellow
	case string(plan.Replace):
		return purple
	case string(plan.Delete):
		return red
	case "!":
		return bold + ";" + red
	}
	return ""
}

func (t *terminal) line(s string) {
	if t.err == nil {
		_, t.err = t.w.WriteString(strings.TrimRight(s, " ") + "\n")
	}
	t.wrote = true
}

func (t *terminal) flush() error {
	if t.err == nil {
		t.err = t.w.Flush()
	}
	if t.err != nil {
		return fmt.Errorf("write plan: %w", t.err)
	}
	return nil
}

func (t *terminal) host(p *plan.Plan) {
	if t.wrote {
		t.line("")
	}
	c := p.Count()
	words := tally(c) + remarks(c)
	if p.Empty() {
		words = "no changes"
	}
	t.line(t.paint(bold, clean(p.Host)) + "  " + t.paint(dim, words))
}

func (t *terminal) rows(rows []row) {
	for _, r := range rows {
		if r.kind == heading && r.depth == 0 {
			t.line("")
			t.right = ""
		}
		t.row(r)
	}
}

// indent is where a row's text begins. Marks hang to the left of it.
const indentStep = 2

func (t *terminal) row(r row) {
	text, more, right := clean(r.text), clean(r.more), clean(r.right)
	indent := indentStep * (r.depth + 1)
	left := strings.Repeat(" ", indent)
	switch {
	case r.kind == action:
		// Glyphs of one to three characters share a column.
		left += fmt.Sprintf("%-4s", r.mark)
	case r.mark != "":
		left += r.mark + " "
	case r.kind == detail || r.kind == context:
		left += "  "
	}
	if r.kind > action {
		left = "  " + left
	}
	if r.kind == detail || r.kind == warning {
		t.wrapped(r, left, text, right)
		return
	}
	used := utf8.RuneCountInString(left) + utf8.RuneCountInString(text)
	if more != "" {
		room := t.width - used - 2
		if right != "" {
			room -= utf8.RuneCountInString(right) + 2
		}
		if more = cut(more, room); more != "" {
			used += 2 + utf8.RuneCountInString(more)
			more = "  " + t.paint(dim, more)
		}
	}
	t.line(t.styled(r, left, text) + more + t.atRight(used, right))
}

// cut shortens s to room, after a comma where it has one; too little room leaves
// nothing.
func cut(s string, room int) string {
	if utf8.RuneCountInString(s) <= room {
		return s
	}
	list := strings.Contains(s, ", ")
	if room < 12 {
		return ""
	}
	s = string([]rune(s)[:room-3])
	if i := strings.LastIndex(s, ", "); i > 0 {
		s = s[:i+2]
	} else if list {
		return "" // half of its first part says nothing
	}
	return s + "..."
}

// atRight places right at the margin. Where there is no room it has a line of its own,
// unless it is what stood there last.
func (t *terminal) atRight(used int, right string) string {
	if right == "" {
		return ""
	}
	last := t.right
	t.right = right
	n := utf8.RuneCountInString(right)
	gap := t.width - used - n
	if gap < 2 && right == last {
		return ""
	}
	if gap >= 2 {
		return strings.Repeat(" ", gap) + t.paint(dim, right)
	}
	return "\n" + strings.Repeat(" ", max(t.width-n, 8)) + t.paint(dim, right)
}

func (t *terminal) styled(r row, left, text string) string {
	switch r.kind {
	case heading:
		return left + t.paint(bold, text)
	case action:
		body := strings.TrimLeft(left, " ")
		return left[:len(left)-len(body)] + t.paint(colorOf(r.mark), body) + text
	case added:
		return t.paint(green, left+text)
	case removed:
		return t.paint(red, left+text)
	case warning:
		return t.paint(bold+";"+red, left+text)
	case context:
		return left + t.paint(dim, text)
	case plain, detail:
	}
	return left + text
}

// wrapped breaks long sentences at blanks. Lines of files and rules are never
// broken: they do not come here.
func (t *terminal) wrapped(r row, left, text, right string) {
	hang := strings.Repeat(" ", utf8.RuneCountInString(left))
	room := max(t.width-utf8.RuneCountInString(left), 20)
	for i, l := range Wrap(text, room) {
		if i > 0 {
			left = hang
		}
		end := ""
		if i == 0 {
			end = t.atRight(utf8.RuneCountInString(left)+utf8.RuneCountInString(l), right)
		}
		t.line(t.styled(r, left, l) + end)
	}
}

// Wrap breaks s at blanks into lines of at most room characters where it can.
func Wrap(s string, room int) []string {
	var out []string
	for {
		end := offset(s, room)
		if end == len(s) {
			return append(out, s)
		}
		at := strings.LastIndexByte(s[:end+1], ' ')
		if at <= 0 {
			if at = strings.IndexByte(s, ' '); at <= 0 {
				return append(out, s)
			}
		}
		out = append(out, s[:at])
		s = strings.TrimLeft(s[at:], " ")
	}
}

// offset is where in s the first n characters end.
func offset(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// mostAfter is how many predecessors a step shows.
const mostAfter = 8

func (t *terminal) step(i, width int, s *plan.Step) {
	what := "make"
	if s.Drop {
		what = "drop"
	}
	left := fmt.Sprintf("  %*d  ", width, i+1)
	mark := fmt.Sprintf("%-4s", s.Action.Verb)
	text := fmt.Sprintf("%s %s", what, clean(s.ID().String()))
	right := ""
	if len(s.After) > 0 {
		var l []string
		for _, j := range s.After[:min(len(s.After), mostAfter)] {
			l = append(l, fmt.Sprint(j+1))
		}
		right = "after " + strings.Join(l, ", ")
		if n := len(s.After) - mostAfter; n > 0 {
			right += fmt.Sprintf(" and %d more", n)
		}
	}
	used := utf8.RuneCountInString(left) + utf8.RuneCountInString(mark) + utf8.RuneCountInString(text)
	t.line(left + t.paint(colorOf(string(s.Action.Verb)), mark) + text + t.atRight(used, right))
}
