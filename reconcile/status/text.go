package status

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"weft.dev/reconcile/plan/render"
	"weft.dev/reconcile/resource"
)

// A Style says how text is written.
type Style struct {
	Color bool
	// Now is what ages are counted from; the status' own time if zero.
	Now time.Time
	// All shows networks that are well too.
	All bool
	// Width is the terminal's, 0 for none: lines are as long as they are then.
	Width int
}

// The colours, by what they say.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
	dim    = "2"
)

// Line is the status in one line.
func (s *Status) Line() string {
	ready, stalled := s.Condition(Ready), s.Condition(Stalled)
	out := "Ready"
	if !ready.True {
		out = "not ready: " + clean(ready.Message)
	}
	if stalled.True && ready.True {
		out += ", but " + clean(stalled.Message)
	}
	if s.LastAppliedRevision != "" {
		out += " (" + Short(s.LastAppliedRevision) + ")"
	}
	if c := s.Condition(Suspended); c.True {
		out += ", suspended: " + clean(c.Message)
	}
	if c := s.Condition(Reconciling); c.True && c.Reason == ReconcilingWaits {
		out += ", waiting: " + clean(c.Message)
	}
	return out
}

// Text writes the status for people.
func (s *Status) Text(w io.Writer, style Style) error {
	p := &printer{style: style, now: style.Now}
	if p.now.IsZero() {
		p.now = s.Time
	}
	p.head(s)
	p.conditions(s)
	p.owners(s)
	p.nics(s)
	p.routers(s)
	p.drift("Drift", s.Drift)
	p.list("In the tree", s.Diagnostics)
	p.list("Good to know", s.Notes)
	_, err := io.WriteString(w, p.String())
	return err
}

// DriftText writes what another hand changed.
func (s *Status) DriftText(w io.Writer, style Style) error {
	p := &printer{style: style, now: style.Now}
	if p.now.IsZero() {
		p.now = s.Time
	}
	ready, rev := s.Condition(Ready), s.LastAppliedRevision
	switch {
	case len(s.Drift) > 0:
	case !ready.True:
		p.line("No drift was seen, but the host is not ready: %s", clean(ready.Message))
	case rev == "":
		p.line("No drift.")
	default:
		p.line("No drift: everything is as %s says.", Short(rev))
	}
	p.drift("Drift", s.Drift)
	p.drift("Repaired", s.Repaired)
	_, err := io.WriteString(w, strings.TrimPrefix(p.String(), "\n"))
	return err
}

type printer struct {
	strings.Builder
	style Style
	now   time.Time
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *printer) paint(color, text string) string {
	if !p.style.Color || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// ago is how long ago t was.
func (p *printer) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if d := Age(p.now.Sub(t)); d != "0s" {
		return d + " ago"
	}
	return "now"
}

func (p *printer) head(s *Status) {
	ready := s.Condition(Ready)
	word := p.paint(green, "Ready")
	switch {
	case !ready.True && s.Condition(Stalled).True:
		word = p.paint(red, "Not ready")
	case !ready.True:
		word = p.paint(yellow, "Not ready")
	}
	p.line("%s: %s for %s", p.paint(bold, "host/"+clean(s.Host)), word, Age(p.now.Sub(ready.Since)))
	p.line("")
	p.line("  Repository  %s, answered %s", clean(s.Repository), p.ago(s.Fetched))
	rev := s.LastAttemptedRevision
	if rev == "" {
		rev = s.LastAppliedRevision
	}
	p.line("  Revision    %s", p.revision(s, rev))
	if s.Pinned != "" {
		p.line("              %s", p.paint(yellow, "rolled back; `weft resume` or a newer commit ends that"))
	}
	if s.ObservedRevision != "" && s.ObservedRevision != rev {
		p.line("  Newest      %s", Short(s.ObservedRevision))
	}
	if s.LastAppliedRevision != "" && s.LastAppliedRevision != rev {
		p.line("  Last whole  %s", Short(s.LastAppliedRevision))
	}
	p.line("  Changed     %s; all was right %s", p.ago(s.Applied), p.ago(s.Verified))
}

func (p *printer) revision(s *Status, rev string) string {
	if rev == "" {
		return "none yet"
	}
	out := Short(rev)
	if s.Subject != "" {
		out += fmt.Sprintf(" %q", clean(s.Subject))
	}
	if s.Author != "" {
		out += " by " + clean(s.Author)
	}
	return out
}

// conditions are shown where they say something.
func (p *printer) conditions(s *Status) {
	var rows [][]string
	for _, c := range s.Conditions {
		good := c.Type == Ready || c.Type == Healthy
		if c.True == good {
			continue
		}
		name, color := c.Type, yellow
		if c.Type == Ready {
			name = "Not ready"
		}
		if c.Type == Healthy {
			name = "Not healthy"
		}
		if c.Type == Stalled || c.Type == Healthy || c.Type == Ready && s.Condition(Stalled).True {
			color = red
		}
		if c.Type == Ready && c.Message == s.Condition(Stalled).Message {
			continue
		}
		rows = append(rows, []string{p.paint(color, name), clean(c.Reason), Age(p.now.Sub(c.Since)), clean(c.Message)})
	}
	p.table(rows)
}

// owners shows those that are not well, or all, and counts the networks by how they
// fare and where they are in their lives.
func (p *printer) owners(s *Status) {
	fare, life := map[string]int{}, map[string]int{}
	var rows [][]string
	for _, o := range s.Owners {
		if !strings.HasPrefix(string(o.Name), "host/") {
			fare[o.State]++
			life[o.Lifecycle]++
		}
		if o.State == OwnerReady && !p.style.All {
			continue
		}
		message := clean(o.Message)
		if !o.Retry.IsZero() {
			message += "; again in " + Age(o.Retry.Sub(p.now))
		}
		if p.style.All && o.Guru != "" {
			message += "; designed by " + clean(o.Guru)
		}
		rows = append(rows, []string{clean(string(o.Name)), p.state(o.State), clean(o.Lifecycle), Age(p.now.Sub(o.Since)), strings.TrimPrefix(message, "; ")})
	}
	total := 0
	for _, n := range s.Managed {
		total += n
	}
	if words := tally(fare, OwnerReady, OwnerFailing, OwnerWaiting, OwnerPending, OwnerHeld, OwnerSuspended); words != "" {
		p.line("")
		p.line("  Networks    %s; %d resources here", words, total)
	}
	if words := tally(life, Allocated, Implementing, Implemented, Shutdown, Destroy); words != "" {
		p.line("              %s", words)
	}
	p.table(rows)
}

// tally counts states in the order given: "1 ready, 2 held".
func tally(count map[string]int, states ...string) string {
	var parts []string
	for _, st := range states {
		if n := count[st]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(st)))
		}
	}
	return strings.Join(parts, ", ")
}

func (p *printer) state(st string) string {
	switch st {
	case OwnerReady:
		return p.paint(green, st)
	case OwnerFailing:
		return p.paint(red, st)
	}
	return p.paint(yellow, st)
}

func (p *printer) drift(title string, list []Drift) {
	if len(list) == 0 {
		return
	}
	p.line("\n%s", p.paint(bold, title))
	owner := resource.Owner("\x00")
	for _, d := range list {
		if d.Owner != owner {
			owner = d.Owner
			p.line("  %s", clean(string(owner)))
		}
		when := "since " + Age(p.now.Sub(d.Since))
		if !d.Healed.IsZero() {
			when = "repaired " + p.ago(d.Healed)
		}
		p.line("    %s  %s", clean(d.ID.String()), p.paint(dim, when))
		for _, l := range d.What {
			p.line("      %s", clean(l))
		}
	}
}

func (p *printer) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	p.line("\n%s", p.paint(bold, title))
	for _, l := range lines {
		p.line("%s", p.hung("  "+clean(l), 0))
	}
}

// The room that the last column of a table has at least beside the others, and how far
// in it stands where it has less.
const (
	leastRoom = 30
	hanging   = 6
)

// table writes rows in columns; a column in which nothing stands is none. What is too
// long in the last one goes on below it.
func (p *printer) table(rows [][]string) {
	if len(rows) > 0 {
		p.line("")
		p.rows(rows)
	}
}

// rows are those of a table.
func (p *printer) rows(rows [][]string) {
	if len(rows) == 0 {
		return
	}
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], visible(c))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		last := len(r) - 1
		for i, c := range r[:last] {
			if width[i] > 0 {
				b.WriteString("  " + c + strings.Repeat(" ", width[i]-visible(c)))
			}
		}
		left, text := b.String(), p.hung("  "+r[last], visible(b.String()))
		if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "\n") {
			left = strings.TrimRight(left, " ")
		}
		p.line("%s", left+strings.TrimRight(text, " "))
	}
}

// hung is text that begins at a column, broken into lines where the terminal is too
// narrow for it.
func (p *printer) hung(text string, column int) string {
	if p.style.Width == 0 || column+visible(text) <= p.style.Width {
		return text
	}
	text, first, column := strings.TrimLeft(text, " "), "  ", column+2
	if p.style.Width-column < leastRoom {
		first, column = "\n"+strings.Repeat(" ", hanging), hanging
	}
	return first + strings.Join(render.Wrap(text, max(leastRoom, p.style.Width-column)), "\n"+strings.Repeat(" ", column))
}

// visible is the width of text on a terminal, without its colour.
func visible(s string) int {
	n, escape := 0, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}

// clean makes text of documents, commits and daemons harmless on a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, s)
}

// Short is a revision with the first digits of its commit.
func Short(revision string) string {
	ref, commit, ok := strings.Cut(clean(revision), "sha1:")
	if !ok {
		return clean(revision)
	}
	return ref + commit[:min(12, len(commit))]
}

// Age is a duration as people say it: one unit, the largest.
func Age(d time.Duration) string {
	switch d = max(0, d); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d/time.Hour))
	}
	return fmt.Sprintf("%dd", int(d/(24*time.Hour)))
}
