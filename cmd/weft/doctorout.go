package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"weft.dev/reconcile/doctor"
)

// findings writes a line for each, with its cure below it, and the sum.
func (a *app) findings(w io.Writer, found []doctor.Finding) error {
	b := bufio.NewWriter(w)
	styles := map[doctor.Level]string{doctor.Error: "\x1b[1;31m", doctor.Warning: "\x1b[1;33m", doctor.Note: "\x1b[1;34m"}
	color := a.color(w)
	for _, f := range found {
		level := fmt.Sprintf("%-7s", f.Level)
		if color {
			level = styles[f.Level] + level + "\x1b[0m"
		}
		where := ""
		if f.At.File != "" {
			where = f.At.String() + ": "
		}
		fmt.Fprintf(b, "%s  %-8s  %s%s\n", level, f.Check, where, oneLine(f.Text))
		if f.Cure != "" {
			fmt.Fprintf(b, "%19s-> %s\n", "", oneLine(f.Cure))
		}
	}
	fmt.Fprintln(b, summed(found))
	return b.Flush()
}

// summed is the last line.
func summed(found []doctor.Finding) string {
	var parts []string
	for _, l := range []doctor.Level{doctor.Error, doctor.Warning, doctor.Note} {
		if n := levels(found)[l]; n > 0 {
			parts = append(parts, counted(n, string(l)))
		}
	}
	text := strings.Join(parts, ", ")
	switch n := levels(found); {
	case n[doctor.Error]+n[doctor.Warning] > 0:
		return text + ": see above."
	case text != "":
		return "Nothing will bite (" + text + ")."
	}
	return "Nothing will bite."
}

func levels(found []doctor.Finding) map[doctor.Level]int {
	n := map[doctor.Level]int{}
	for _, f := range found {
		n[f.Level]++
	}
	return n
}

type jsonFinding struct {
	Check  string       `json:"check"`
	Level  doctor.Level `json:"level"`
	Text   string       `json:"text"`
	Cure   string       `json:"cure,omitempty"`
	File   string       `json:"file,omitempty"`
	Line   int          `json:"line,omitempty"`
	Column int          `json:"column,omitempty"`
	Code   string       `json:"code,omitempty"`
}

func findingsJSON(w io.Writer, host string, found []doctor.Finding) error {
	n := levels(found)
	out := struct {
		FormatVersion string        `json:"formatVersion"`
		Host          string        `json:"host,omitempty"`
		Errors        int           `json:"errors"`
		Warnings      int           `json:"warnings"`
		Notes         int           `json:"notes"`
		Findings      []jsonFinding `json:"findings"`
	}{"1.0", host, n[doctor.Error], n[doctor.Warning], n[doctor.Note], []jsonFinding{}}
	for _, f := range found {
		out.Findings = append(out.Findings, jsonFinding{f.Check, f.Level, f.Text, f.Cure, f.At.File, f.At.Line, f.At.Col, f.Code})
	}
	return indented(w, out)
}
