package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
	"gopkg.in/yaml.v3"

	"weft.dev/schema"
)

// TestSuffix ends the name of a policy's test: NAME.test.txtar tests the policy NAME.
const TestSuffix = ".test.txtar"

// Tested is the policy that a test of that file name is about.
func Tested(file string) string { return strings.TrimSuffix(path.Base(file), TestSuffix) }

// A Trial is a test of one policy: an archive (txtar) of a tree, a tree before it below base/, and
// plans (plan*.yaml). A comment "# want", or "# want: TEXT" for a part of what is said, stands on
// each line that has a finding, and anywhere in a plan that does not pass. A line "today: DATE" before
// the first file says which day it is. Exceptions count where the policy is in the archive.
type Trial struct {
	Policy string

	today      schema.Date
	tree, base *schema.Tree
	diags      schema.Diags
	plans      map[string]*Change
	wants      []*want
}

// want is what a line of the archive asks for.
type want struct {
	file string
	line int
	text string
	met  bool
}

// someDay is today where a test does not say.
var someDay = schema.Date{Year: 2026, Month: 1, Day: 1}

// ParseTrial reads the test of a policy. The error says what is wrong with the archive; mistakes in its
// documents are findings of Run.
func ParseTrial(name string, text []byte) (*Trial, error) {
	a := txtar.Parse(text)
	t := &Trial{Policy: Tested(name), today: someDay, plans: map[string]*Change{}}
	for line := range bytes.Lines(a.Comment) {
		if day, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "today:"); ok {
			var err error
			if t.today, err = schema.ParseDate(strings.TrimSpace(day)); err != nil {
				return nil, err
			}
		}
	}
	tree, base := &txtar.Archive{}, &txtar.Archive{}
	for _, f := range a.Files {
		t.readWants(f)
		switch below, isBase := strings.CutPrefix(f.Name, "base/"); {
		case isBase:
			base.Files = append(base.Files, txtar.File{Name: below, Data: f.Data})
		case isPlan(f.Name):
			c, err := readPlan(f.Data)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			t.plans[f.Name] = c
		default:
			tree.Files = append(tree.Files, f)
		}
	}
	if len(a.Files) == 0 {
		return nil, errors.New("the archive has no file: a line such as \"-- a.yaml --\" begins one")
	}
	var err error
	if t.tree, err = t.parse(tree); err == nil && len(base.Files) > 0 {
		t.base, err = t.parse(base)
	}
	return t, err
}

func (t *Trial) parse(a *txtar.Archive) (*schema.Tree, error) {
	files, err := txtar.FS(a)
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	tree, ds := schema.Parse(files, nil)
	t.diags = append(t.diags, ds...)
	return tree, nil
}

func isPlan(name string) bool {
	ok, _ := path.Match("plan*.yaml", name)
	return ok
}

// readPlan reads a plan as a test writes it. Totals that are not written are those of the hosts.
func readPlan(text []byte) (*Change, error) {
	var c Change
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if c.Add+c.Change+c.Destroy+c.Disruptive+c.Drift == 0 {
		for _, h := range c.Hosts {
			c.Add, c.Change, c.Destroy = c.Add+h.Add, c.Change+h.Change, c.Destroy+h.Destroy
			c.Disruptive, c.Drift = c.Disruptive+h.Disruptive, c.Drift+h.Drift
		}
	}
	return &c, nil
}

func (t *Trial) readWants(f txtar.File) {
	n := 0
	for line := range bytes.Lines(f.Data) {
		n++
		_, text, ok := strings.Cut(string(line), "# want")
		text = strings.TrimSpace(text)
		said, some := strings.CutPrefix(text, ":")
		if !ok || text != "" && !some { // such as "# wanted by ann"
			continue
		}
		t.wants = append(t.wants, &want{file: f.Name, line: n, text: strings.TrimSpace(said)})
	}
}

// Run judges the archive by its policy, which is one of its own documents, of the tree, or built in. It
// returns what differs from what is wanted, nothing where all is as it should be.
func (t *Trial) Run(tree *schema.Tree, builtin []*schema.Document) []string {
	var out []string
	for _, d := range t.diags {
		if d.Severity == schema.Error {
			out = append(out, d.String())
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, w := range t.wants {
		w.met = false
	}
	id := schema.ID{Kind: schema.KindPolicy, Name: t.Policy}
	judged := t.tree
	if outer := tree.Lookup(id); outer != nil && t.tree.Lookup(id) == nil {
		judged = &schema.Tree{Documents: append(slices.Clone(t.tree.Documents), unexcepted(outer)), Invalid: t.tree.Invalid}
	}
	rules := Of(judged, Options{Builtin: builtin, Today: t.today, Name: t.Policy})
	if len(rules.list) == 0 && len(rules.Diags) == 0 {
		return []string{"there is no policy " + t.Policy + ", or it is off"}
	}
	for _, d := range append(slices.Clone(rules.Diags), Diags(rules.Objects(t.base))...) {
		if !t.expected(d.File, d.Line, d.Message) {
			out = append(out, "not wanted: "+d.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.plans)) {
		for _, f := range rules.Plan(t.plans[name]) {
			if !t.expected(name, 0, f.Diag.Message) {
				out = append(out, "not wanted: "+name+": "+f.Diag.Message)
			}
		}
	}
	for _, w := range t.wants {
		if !w.met {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s:%d: wanted, and not found: %s", w.file, w.line, w.text)))
		}
	}
	return out
}

// unexcepted is a policy without its exceptions: they are of objects that no test has.
func unexcepted(d *schema.Document) *schema.Document {
	out, spec := *d, *d.Spec.(*schema.Policy)
	spec.Exceptions = nil
	out.Spec = &spec
	return &out
}

// expected reports whether a finding is wanted; line 0 is anywhere in the file.
func (t *Trial) expected(file string, line int, message string) bool {
	for _, w := range t.wants {
		if w.file == file && (line == 0 || w.line == line) && !w.met && strings.Contains(message, w.text) {
			w.met = true
			return true
		}
	}
	return false
}

// Trials finds the tests below a directory, sorted.
func Trials(tree fs.FS) ([]string, error) {
	var out []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(name, TestSuffix):
			out = append(out, name)
		}
		return nil
	})
	return out, err
}
