package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weft.dev/reconcile/engine"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// TestMain lets the test binary be weft, and all that weft makes of itself in a
// lab: it runs the tests only when it is not called so.
func TestMain(m *testing.M) {
	if code, ok := reexec(os.Args); ok {
		os.Exit(code)
	}
	if len(os.Args) > 1 && probes[os.Args[1]] != nil {
		if err := probes[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitError)
		}
		os.Exit(exitOK)
	}
	testscript.Main(m, map[string]func(){"weft": main})
}

// TestScripts runs testdata/script/*.txtar: the program as people call it, on
// trees and Git repositories, without root.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		ContinueOnError:     true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars,
				"EXAMPLES="+examples, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "NO_COLOR=1",
				"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": scriptStatus, "json": scriptJSON, "junit": scriptJUnit, "subst": scriptSubst,
			"reverse": scriptReverse, "repository": scriptRepository, "snapshot": scriptSnapshot,
		},
	})
}

// status CODE COMMAND...: the command ends with that exit status.
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		ts.Fatalf("%v", err)
	}
	got := 0
	if e != nil {
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// json FILE PATH VALUE: the file is JSON, and what PATH (a.b.0.c; @ is a length)
// leads to is VALUE. With !, there is nothing at PATH.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 && (!neg || len(args) != 2) {
		ts.Fatalf("usage: json FILE PATH VALUE, or ! json FILE PATH")
	}
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	got, err := walkJSON(doc, args[1])
	switch {
	case neg && err == nil:
		ts.Fatalf("there is %s at %s", got, args[1])
	case neg:
	case err != nil:
		ts.Fatalf("%v", err)
	case got != args[2]:
		ts.Fatalf("%s is %s, want %s", args[1], got, args[2])
	}
}

func walkJSON(at any, path string) (string, error) {
	for step := range strings.SplitSeq(path, ".") {
		switch v := at.(type) {
		case map[string]any:
			next, ok := v[step]
			if step == "@" {
				next, ok = float64(len(v)), true
			}
			if !ok {
				return "", fmt.Errorf("%s: no field %q", path, step)
			}
			at = next
		case []any:
			i, err := strconv.Atoi(step)
			switch {
			case step == "@":
				at = float64(len(v))
			case err != nil || i < 0 || i >= len(v):
				return "", fmt.Errorf("%s: no element %q of %d", path, step, len(v))
			default:
				at = v[i]
			}
		default:
			return "", fmt.Errorf("%s: nothing below %v", path, at)
		}
	}
	if s, ok := at.(string); ok {
		return s, nil
	}
	b, err := json.Marshal(at)
	return string(b), err
}

// junit FILE CASES FAILURES: the file is a JUnit report of so many.
func scriptJUnit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: junit FILE CASES FAILURES")
	}
	var suite struct {
		XMLName  xml.Name `xml:"testsuite"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Cases    []struct {
			Failure *struct{} `xml:"failure"`
		} `xml:"testcase"`
	}
	ts.Check(xml.Unmarshal([]byte(ts.ReadFile(args[0])), &suite))
	failed := 0
	for _, c := range suite.Cases {
		if c.Failure != nil {
			failed++
		}
	}
	got := fmt.Sprintf("%d %d", len(suite.Cases), failed)
	if want := args[1] + " " + args[2]; got != want || fmt.Sprintf("%d %d", suite.Tests, suite.Failures) != want {
		ts.Fatalf("cases and failures: %s, attributes %d %d, want %s", got, suite.Tests, suite.Failures, want)
	}
}

// subst FILE OLD NEW: an edit, which must have found what it replaces.
func scriptSubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: subst FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
}

// reverse FILE: its documents, of which there must be several, the other way round.
func scriptReverse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: reverse FILE")
	}
	const between = "\n---\n"
	docs := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), between)
	if len(docs) < 2 {
		ts.Fatalf("%s is one document", args[0])
	}
	slices.Reverse(docs)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(docs, between)+"\n"), 0o600))
}

// repository DIR: makes it a Git repository with one commit of all that is in it.
func scriptRepository(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: repository DIR")
	}
	for _, argv := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "-m", "one"}} {
		ts.Check(ts.Exec("git", append([]string{"-C", ts.MkAbs(args[0])}, argv...)...))
	}
}

// snapshot DIR HOST FILE [RESOURCE]: what weft observe writes on a host that is all
// that the tree in DIR says, but for a resource that somebody took away.
func scriptSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 && len(args) != 4 {
		ts.Fatalf("usage: snapshot DIR HOST FILE [RESOURCE]")
	}
	known := model.Facts{Instance: "weft", OVSVersion: "3.1.0", IPTables: "nft", Datapath: "netdev"}
	t, err := newCompiler().compile(os.DirFS(ts.MkAbs(args[0])), map[string]model.Facts{args[1]: known})
	ts.Check(err)
	in := t.Intent(args[1])
	if in.Len() == 0 {
		ts.Fatalf("host %s of %s has nothing", args[1], args[0])
	}
	s := &engine.Snapshot{Host: args[1], Time: time.Unix(1_800_000_000, 0), Facts: known, Observed: resource.NewObserved()}
	for id, e := range in.Set() {
		if len(args) < 4 || id.String() != args[3] {
			s.Observed.Set.Put(e)
		}
	}
	if len(args) == 4 && len(s.Observed.Set) == in.Len() {
		ts.Fatalf("host %s has no %s", args[1], args[3])
	}
	s.Verified = engine.Stored{FormatVersion: resource.FormatVersion, Revision: "main@sha1:1", Intent: in}
	b, err := json.Marshal(s)
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[2])), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o600))
}
