package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"

	"weft.dev/reconcile/plan/render"
	"weft.dev/schema"
)

// writeDiags writes diagnostics in the asked format; source gives a file's text.
func (a *app) writeDiags(w io.Writer, format string, ds schema.Diags, source func(string) []byte) error {
	switch format {
	case "json":
		return diagsJSON(w, ds)
	case "sarif":
		return diagsSARIF(w, ds)
	case "junit":
		return diagsJUnit(w, ds)
	case "github":
		return diagsGitHub(w, ds)
	}
	return ds.Render(w, source, a.color(w))
}

type jsonDiag struct {
	File     string     `json:"file,omitempty"`
	Line     int        `json:"line,omitempty"`
	Column   int        `json:"column,omitempty"`
	Severity string     `json:"severity"`
	Code     string     `json:"code"`
	Message  string     `json:"message"`
	Text     string     `json:"text,omitempty"`
	Hint     string     `json:"hint,omitempty"`
	Related  []jsonNote `json:"related,omitempty"`
}

type jsonNote struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

func diagsJSON(w io.Writer, ds schema.Diags) error {
	out := struct {
		FormatVersion string     `json:"formatVersion"`
		Valid         bool       `json:"valid"`
		Diagnostics   []jsonDiag `json:"diagnostics"`
	}{"1.0", !ds.HasErrors(), []jsonDiag{}}
	for _, d := range ds {
		j := jsonDiag{
			File: d.File, Line: d.Line, Column: d.Col, Severity: d.Severity.String(),
			Code: d.Code, Message: d.Message, Text: d.Text, Hint: d.Hint,
		}
		for _, n := range d.Related {
			j.Related = append(j.Related, jsonNote{n.Pos.File, n.Pos.Line, n.Pos.Col, n.Message})
		}
		out.Diagnostics = append(out.Diagnostics, j)
	}
	return indented(w, out)
}

func indented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// diagsSARIF writes SARIF 2.1.0, which code hosts show beside the lines.
func diagsSARIF(w io.Writer, ds schema.Diags) error {
	type m = map[string]any
	results, rules, seen := []m{}, []m{}, map[string]bool{}
	for _, d := range ds {
		if !seen[d.Code] {
			seen[d.Code] = true
			rules = append(rules, m{"id": d.Code})
		}
		r := m{"ruleId": d.Code, "level": d.Severity.String(), "message": m{"text": withHint(d)}}
		if d.File != "" {
			r["locations"] = []m{sarifPlace(d.Pos)}
		}
		var related []m
		for _, n := range d.Related {
			p := sarifPlace(n.Pos)
			p["message"] = m{"text": n.Message}
			related = append(related, p)
		}
		if related != nil {
			r["relatedLocations"] = related
		}
		results = append(results, r)
	}
	return indented(w, m{
		"version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"runs": []m{{"tool": m{"driver": m{"name": "weft", "version": version, "rules": rules}}, "results": results}},
	})
}

func sarifPlace(p schema.Pos) map[string]any {
	region := map[string]any{"startLine": max(p.Line, 1), "startColumn": max(p.Col, 1)}
	file := url.URL{Path: p.File}
	return map[string]any{"physicalLocation": map[string]any{
		"artifactLocation": map[string]any{"uri": file.String()}, "region": region,
	}}
}

func withHint(d schema.Diag) string {
	if d.Hint == "" {
		return d.Message
	}
	return d.Message + " (" + d.Hint + ")"
}

// diagsJUnit writes one failed case per error, or one passed case.
func diagsJUnit(w io.Writer, ds schema.Diags) error {
	type failure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		File    string   `xml:"file,attr,omitempty"`
		Line    int      `xml:"line,attr,omitempty"`
		Failure *failure `xml:"failure,omitempty"`
		Out     string   `xml:"system-out,omitempty"`
	}
	type testsuite struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	suite := testsuite{Name: "weft validate"}
	for _, d := range ds {
		c := testcase{Name: fmt.Sprintf("%s %s", d.Pos, d.Code), Class: "weft." + d.Code, File: d.File, Line: d.Line}
		if d.Severity == schema.Error {
			c.Failure = &failure{Message: d.Message, Text: d.String() + "\n" + d.Hint}
			suite.Failures++
		} else {
			c.Out = d.String()
		}
		suite.Cases = append(suite.Cases, c)
	}
	if len(suite.Cases) == 0 {
		suite.Cases = []testcase{{Name: "tree is valid", Class: "weft"}}
	}
	suite.Tests = len(suite.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// diagsGitHub writes workflow commands.
func diagsGitHub(w io.Writer, ds schema.Diags) error {
	for _, d := range ds {
		if _, err := fmt.Fprintln(w, render.Annotation(d.Severity.String(), d.Pos, d.Code, withHint(d))); err != nil {
			return err
		}
	}
	return nil
}
