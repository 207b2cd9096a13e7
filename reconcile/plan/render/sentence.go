package render

import (
	"fmt"
	"strings"
	"unicode"

	"weft.dev/reconcile/plan"
)

// mostExposed is how many newly exposed addresses the last line names.
const mostExposed = 10

// count is "1 host" or "2 hosts".
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// tally is "3 to add, 1 to change, 0 to destroy".
func tally(c plan.Count) string {
	return fmt.Sprintf("%d to add, %d to change, %d to destroy", c.Add, c.Change, c.Destroy)
}

// remarks is " (1 disruptive, 2 drift)", or "".
func remarks(c plan.Count) string {
	var l []string
	if c.Disruptive > 0 {
		l = append(l, fmt.Sprintf("%d disruptive", c.Disruptive))
	}
	if c.Drift > 0 {
		l = append(l, fmt.Sprintf("%d drift", c.Drift))
	}
	if len(l) == 0 {
		return ""
	}
	return " (" + strings.Join(l, ", ") + ")"
}

// Summary is the last line, or the last two: what is planned, and what becomes
// reachable where that is known.
func Summary(r *plan.Report) []string { return summarize(r, clean) }

// summarize writes what users named as quote does.
func summarize(r *plan.Report, quote func(string) string) []string {
	c, hosts := r.Count()
	out := []string{fmt.Sprintf("Plan: %s on %s%s.", tally(c), count(hosts, "host"), remarks(c))}
	if r.Empty() {
		out[0] = unchanged(r, quote)
	}
	if x := r.Reachability; x != nil {
		out = append(out, reachability(x, quote))
	}
	return out
}

func unchanged(r *plan.Report, quote func(string) string) string {
	waiting := 0
	for _, p := range r.Hosts {
		waiting += len(p.Blocked) + len(p.Unread)
		if p.Frozen != "" {
			waiting++
		}
	}
	switch {
	case waiting > 0:
		return "No changes. What is listed above keeps hosts from being all that they should be."
	case len(held(r)) > 0 && r.Base != "":
		return fmt.Sprintf("No changes. %s held: what the commits ask of them is not done.", verb(len(held(r)), "owner is", "owners are"))
	case r.Base != "":
		return fmt.Sprintf("No changes. Both commits ask the same of %s.", count(len(r.Hosts), "host"))
	case len(r.Hosts) == 1:
		return fmt.Sprintf("No changes. %s is all that it should be.", quote(r.Hosts[0].Host))
	}
	return fmt.Sprintf("No changes. %s are all that they should be.", count(len(r.Hosts), "host"))
}

// verb is "1 owner is" or "2 owners are".
func verb(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func reachability(x *plan.Reachability, quote func(string) string) string {
	s := fmt.Sprintf("Reachability: +%d -%d", len(x.Gained), len(x.Lost))
	if len(x.Gained)+len(x.Lost) == 0 {
		s = "Reachability: unchanged"
	}
	if len(x.Exposed) == 0 {
		return s + "."
	}
	list := make([]string, 0, len(x.Exposed))
	for _, e := range x.Exposed[:min(len(x.Exposed), mostExposed)] {
		list = append(list, quote(e))
	}
	s += ", newly open to the internet: " + strings.Join(list, ", ")
	if n := len(x.Exposed) - mostExposed; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s + "."
}

// clean makes what users wrote safe for one line of a terminal: what is not
// printable is written as an escape.
func clean(s string) string {
	if !strings.ContainsFunc(s, unsafe) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case !unsafe(c):
			b.WriteRune(c)
		case c == '\t':
			b.WriteString("\\t")
		case c == '\n':
			b.WriteString("\\n")
		case c == '\r':
			b.WriteString("\\r")
		case c < 0x100:
			fmt.Fprintf(&b, "\\x%02x", c)
		default:
			fmt.Fprintf(&b, "\\u{%x}", c)
		}
	}
	return b.String()
}

// unsafe runes are not printable: controls, line separators, marks that turn the
// direction of text, and what is no Unicode.
func unsafe(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }
