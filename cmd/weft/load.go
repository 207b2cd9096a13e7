package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing/fstest"

	"weft.dev/plugins"
	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile"
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/policy"
	"weft.dev/reconcile/resource"
	"weft.dev/reconcile/source"
	"weft.dev/schema"
)

// A compiler turns trees into results one after another, at the cost of what
// changed between them.
type compiler struct {
	cache *schema.Cache
	units *compile.Compiler
	lock  *alloc.Lock
	text  []byte // of the lock
	blob  string // its id, where that is known
}

// newCompiler compiles for all hosts of a tree.
func newCompiler() *compiler {
	return &compiler{cache: new(schema.Cache), units: compile.New(plugins.All())}
}

// newCompilerOf compiles for one host: of the others it knows only what that
// one needs.
func newCompilerOf(host string) *compiler {
	return &compiler{cache: new(schema.Cache), units: compile.Only(plugins.All(), host)}
}

// A compiled tree is all that is known of one commit without a host.
type compiled struct {
	*compile.Result
	tree  *schema.Tree
	lock  *alloc.Lock
	text  []byte        // of weft.lock
	diags schema.Diags  // of all stages, sorted
	rules *policy.Rules // of readPolicies
}

// compile reads files and compiles them under facts of hosts, which may be nil.
func (c *compiler) compile(files fs.FS, facts map[string]model.Facts) (*compiled, error) {
	out := &compiled{}
	var diags, more schema.Diags
	var err error
	var reading sync.WaitGroup
	reading.Go(func() { more, err = c.readLock(files) })
	out.tree, diags = schema.Parse(files, c.cache)
	reading.Wait()
	if err != nil {
		return nil, err
	}
	out.lock, out.text = c.lock, c.text
	out.Result = c.units.Update(out.tree, out.lock, facts)
	out.diags = append(append(diags, more...), out.Result.Diags...)
	out.diags.Sort()
	return out, nil
}

// readLock reads the lock, unless it is known to be what it was.
func (c *compiler) readLock(files fs.FS) (schema.Diags, error) {
	id := ""
	if b, ok := files.(schema.BlobFS); ok {
		id, _ = b.BlobID(alloc.FileName)
	}
	if id == "" || id != c.blob {
		text, err := fs.ReadFile(files, alloc.FileName)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read %s: %w", alloc.FileName, err)
		}
		c.blob, c.text = id, text
	}
	var diags schema.Diags
	c.lock, diags = alloc.Parse(alloc.FileName, c.text, c.lock)
	return diags, nil
}

// checkLock adds what weft lock would change. Of a tree that is wrong otherwise
// nobody knows what it needs, so nothing is added then.
func (c *compiled) checkLock() {
	if c.diags.HasErrors() {
		return
	}
	c.diags = append(c.diags, c.CheckLock()...)
	c.diags.Sort()
}

// withoutNumbers are the diagnostics, and one for every owner that the lock has
// no numbers for: it is held until somebody runs weft lock.
func (c *compiled) withoutNumbers() schema.Diags {
	out := slices.Clone(c.diags)
	for _, h := range c.Holds() {
		if h.Cause == resource.HoldUnallocated {
			out.Errorf(schema.Pos{File: alloc.FileName}, "unallocated", "%s: %s", h.Owner, h.Reason)
		}
	}
	out.Sort()
	return out
}

// source gives the text of a file of the tree, for excerpts.
func (c *compiled) source(file string) []byte {
	if file == alloc.FileName {
		return c.text
	}
	return c.tree.Source(file)
}

// workTree compiles the files of dir as they are now.
func (c *compiler) workTree(dir string) (*compiled, error) {
	files, err := source.Dir(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = files.Close() }()
	return c.compile(files, nil)
}

// counted is "1 error", "2 errors".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// emptyTree is a tree without documents.
func (c *compiler) emptyTree() (*compiled, error) { return c.compile(fstest.MapFS{}, nil) }
