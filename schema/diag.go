package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Severity tells whether a diagnostic stops the document from being used.
type Severity uint8

// The severities. An Error makes its document invalid, a Warning does not.
const (
	Error Severity = iota
	Warning
)

// String is "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Note is a second place that belongs to a diagnostic ("first declared here").
type Note struct {
	Pos     Pos
	Message string
}

// Diag is one mistake in what a person wrote.
type Diag struct {
	Pos
	Severity Severity
	Code     string // stable kebab-case rule id, such as "unknown-field"
	Message  string // what is wrong, in the words of the document; one line
	Text     string // the offending text as written; empty when there is none
	Hint     string // what would be right; may be empty
	Related  []Note
}

// Hintf sets what would be right and returns d.
func (d *Diag) Hintf(format string, args ...any) *Diag {
	d.Hint = fmt.Sprintf(format, args...)
	return d
}

// Offending sets the text that is wrong and returns d.
func (d *Diag) Offending(text string) *Diag {
	d.Text = text
	return d
}

// See adds a related place and returns d.
func (d *Diag) See(pos Pos, format string, args ...any) *Diag {
	d.Related = append(d.Related, Note{Pos: pos, Message: fmt.Sprintf(format, args...)})
	return d
}

// String is the first line of the rendered form, without excerpt.
func (d *Diag) String() string {
	return d.Pos.String() + ": " + d.Severity.String() + ": " + clean(d.Message)
}

// Diags collects diagnostics. The zero value is ready to use. It is not safe for concurrent use.
type Diags []Diag

// Errorf appends an error. The result points into ds and is valid until the next append.
func (ds *Diags) Errorf(pos Pos, code, format string, args ...any) *Diag {
	return ds.add(pos, Error, code, format, args)
}

// Warnf appends a warning. The result points into ds and is valid until the next append.
func (ds *Diags) Warnf(pos Pos, code, format string, args ...any) *Diag {
	return ds.add(pos, Warning, code, format, args)
}

func (ds *Diags) add(pos Pos, sev Severity, code, format string, args []any) *Diag {
	*ds = append(*ds, Diag{Pos: pos, Severity: sev, Code: code, Message: fmt.Sprintf(format, args...)})
	return &(*ds)[len(*ds)-1]
}

// Sort orders by file, line, column, code and message, and drops repeats of the same.
func (ds *Diags) Sort() {
	slices.SortStableFunc(*ds, compareDiags)
	*ds = slices.CompactFunc(*ds, func(a, b Diag) bool { return compareDiags(a, b) == 0 })
}

func compareDiags(a, b Diag) int {
	if c := a.Pos.compare(b.Pos); c != 0 {
		return c
	}
	if c := strings.Compare(a.Code, b.Code); c != 0 {
		return c
	}
	return strings.Compare(a.Message, b.Message)
}

// HasErrors reports whether any is an Error.
func (ds Diags) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diag) bool { return d.Severity == Error })
}

// cut keeps the first limit diagnostics and says how many are left out, dropped ones included.
func (ds *Diags) cut(limit, dropped int) {
	if len(*ds) <= limit {
		return
	}
	rest := (*ds)[limit:]
	severity := Warning
	if rest.HasErrors() || dropped > 0 {
		severity = Error
	}
	at, n := rest[0].Pos, len(rest)+dropped
	*ds = (*ds)[:limit:limit]
	ds.add(at, severity, "too-many-errors", "%d more diagnostics from here on are not shown", []any{n})
}
