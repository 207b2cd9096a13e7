package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weft.dev/policies"
	"weft.dev/reconcile/plan"
	"weft.dev/reconcile/policy"
	"weft.dev/reconcile/source"
	"weft.dev/schema"
)

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Test and list policies",
		Long: `Policies forbid, or warn of, what is valid and yet not wanted: documents of kind Policy, and
those that weft brings. weft validate judges the objects by them, weft plan the change too, weft
apply and the agent refuse what they forbid. docs/policies.md says how to write one.`,
	}
	c.AddCommand(a.policyTest(), a.policyList())
	return c
}

func (a *app) policyTest() *cobra.Command {
	return &cobra.Command{
		Use:   "test [DIR|FILE]",
		Short: "Run the tests of policies",
		Long: `Run every NAME` + policy.TestSuffix + ` below DIR (default: here), or FILE alone: each is an archive with
documents and plans that the policy NAME, of DIR or built in, judges. A comment "# want" stands on
every line that must have a finding. Exit status 1 if anything differs.`,
		Example: `  weft policy test                           # all of a tree
  weft policy test policies/no-ssh` + policy.TestSuffix,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.doPolicyTest(dirArg(args)) },
	}
}

func (a *app) doPolicyTest(dir string) error {
	only := ""
	if st, err := os.Stat(dir); err != nil {
		return err
	} else if !st.IsDir() {
		if !strings.HasSuffix(dir, policy.TestSuffix) {
			return fmt.Errorf("%s is no test of a policy: its name would be NAME%s", dir, policy.TestSuffix)
		}
		dir, only = filepath.Split(filepath.Clean(dir))
		dir = filepath.Clean(dir)
	}
	files, err := source.Dir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = files.Close() }()
	tree, ds := schema.Parse(files, nil)
	names := []string{only}
	if only == "" {
		if names, err = policy.Trials(files); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("there is no NAME%s in %s", policy.TestSuffix, dir)
	}
	failed, tested := 0, map[string]bool{}
	for _, name := range names {
		wrong, err := runTrial(files, name, tree, ds)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		tested[policy.Tested(name)] = true
		if len(wrong) == 0 {
			fmt.Fprintf(a.out, "ok    %s\n", oneLine(name))
			continue
		}
		failed++
		fmt.Fprintf(a.out, "FAIL  %s\n", oneLine(name))
		for _, line := range wrong {
			fmt.Fprintf(a.out, "      %s\n", oneLine(line))
		}
	}
	for _, d := range tree.Documents {
		if p, ok := d.Spec.(*schema.Policy); ok && only == "" && p.Expression != "" && !tested[d.Meta.Name] {
			fmt.Fprintf(a.out, "none  %s: policy %s has no test\n", oneLine(d.Pos.String()), d.Meta.Name)
		}
	}
	fmt.Fprintf(a.out, "%d passed, %d failed.\n", len(names)-failed, failed)
	if failed > 0 {
		return exit{code: exitError}
	}
	return nil
}

// runTrial runs a test under the policies of a tree, which may be wrong itself. The error is one of
// reading the file.
func runTrial(files fs.FS, name string, tree *schema.Tree, ds schema.Diags) (wrong []string, err error) {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	t, err := policy.ParseTrial(name, text)
	if err != nil {
		return strings.Split(err.Error(), "\n"), nil
	}
	if wrong := brokenPolicies(tree, ds, t.Policy); len(wrong) > 0 {
		return wrong, nil
	}
	return t.Run(tree, policies.All()), nil
}

// brokenPolicies says what is wrong in the files of policies that are invalid: of all, or of one name.
func brokenPolicies(tree *schema.Tree, ds schema.Diags, name string) []string {
	files := map[string]bool{}
	for _, d := range tree.Invalid {
		if d.Kind == schema.KindPolicy && (name == "" || d.Meta.Name == name) {
			files[d.File] = true
		}
	}
	var out []string
	for _, x := range ds {
		if files[x.File] {
			out = append(out, x.String())
		}
	}
	return out
}

func (a *app) policyList() *cobra.Command {
	return &cobra.Command{
		Use:   "list [DIR]",
		Short: "List the policies that apply to a tree",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := source.Dir(dirArg(args))
			if err != nil {
				return err
			}
			defer func() { _ = files.Close() }()
			tree, ds := schema.Parse(files, nil)
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "POLICY\tACTION\tABOUT\tFROM\tEXCEPTIONS")
			rules := policy.Of(tree, policy.Options{Builtin: policies.All(), Today: today(), All: true})
			said := brokenPolicies(tree, ds, "")
			for _, d := range rules.Diags {
				said = append(said, d.String())
			}
			for _, line := range said { // a policy with a mistake is not in the list
				fmt.Fprintln(a.err, oneLine(line))
			}
			for _, p := range rules.Policies() {
				from := "built in"
				if !p.Builtin {
					from = oneLine(p.Pos.String())
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\n", p.Name, p.Action, strings.Join(p.Kinds, ","), from, p.Exceptions)
			}
			return w.Flush()
		},
	}
}

// today is the day by which exceptions of policies are judged where a person or CI looks.
func today() schema.Date { return schema.DateOf(time.Now().UTC()) }

// readPolicies collects the policies of the tree, and what is wrong with them.
func (c *compiled) readPolicies() {
	c.rules = policy.Of(c.tree, policy.Options{Builtin: policies.All(), Today: today()})
	c.diags = append(c.diags, c.rules.Diags...)
	c.diags.Sort()
}

// judge adds what the policies find in the objects.
func (c *compiled) judge() {
	c.diags = append(c.diags, policy.Diags(c.rules.Objects(nil))...)
	c.diags.Sort()
}

// veto adds to a report what the policies say of the change: all that is denied, and of warnings those
// that the change brings. Without a base nobody knows which objects it changes: then warnings of
// objects are left to weft validate.
func veto(r *plan.Report, head, base *compiled) {
	var before *schema.Tree
	known := map[string]bool{}
	if base != nil {
		before = base.tree
	}
	found := head.rules.Objects(before)
	if base != nil && len(found) > 0 {
		base.readPolicies()
		for _, f := range base.rules.Objects(nil) {
			known[f.Policy+"\x00"+f.Object.String()+"\x00"+f.Text] = true
		}
	}
	for _, f := range append(found, head.rules.Plan(policy.ChangeOf(r))...) {
		object := f.Object.Name != ""
		if !f.Deny && object && (base == nil || known[f.Policy+"\x00"+f.Object.String()+"\x00"+f.Text]) {
			continue
		}
		c := plan.Check{
			Name: "policy " + f.Policy, Status: plan.Warned, Message: f.Text,
			Source: plan.Source{File: f.Diag.File, Line: f.Diag.Line},
		}
		if f.Deny {
			c.Status = plan.Denied
		}
		if object {
			c.Message = f.Object.String() + ": " + f.Text
		}
		r.Checks = append(r.Checks, c)
	}
}

// refused is why no host may follow a tree: what its policies deny of its objects. A policy that cannot
// be used refuses too. Exceptions are judged by the day of the commit, so that all hosts agree and
// nothing stops by the mere passing of time.
func refused(t *compiled, files fs.FS) error {
	for _, d := range t.tree.Invalid {
		if d.Kind == schema.KindPolicy {
			return fmt.Errorf("%s: a policy is invalid, and nobody knows what it forbids", d.Pos)
		}
	}
	day := schema.Date{}
	if st, err := fs.Stat(files, "."); err == nil {
		day = schema.DateOf(st.ModTime().UTC())
	}
	rules := policy.Of(t.tree, policy.Options{Builtin: policies.All(), Today: day, DenyOnly: true})
	for _, d := range rules.Diags {
		if d.Severity == schema.Error {
			return errors.New(d.String())
		}
	}
	found := rules.Objects(nil)
	if len(found) == 0 {
		return nil
	}
	more := ""
	if n := len(found) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return fmt.Errorf("denied by policy %s: %s: %s%s", found[0].Policy, found[0].Diag.Pos, found[0].Text, more)
}
