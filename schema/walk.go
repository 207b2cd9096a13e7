package schema

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// ignoreFile lists, in the syntax of gitignore, what of its directory is not read.
const ignoreFile = ".weftignore"

// walkResult is what there is to read.
type walkResult struct {
	files      []string // sorted
	unreadable []string // directories that could not be read
	diags      Diags
}

// walk finds the files of the language. Symbolic links are not followed: they could lead out of
// the tree, or in circles.
func walk(tree fs.FS) *walkResult {
	w := &walkResult{}
	w.dir(tree, ".", nil)
	slices.Sort(w.files)
	return w
}

func (w *walkResult) dir(tree fs.FS, dir string, rules []ignoreRule) {
	if strings.Count(dir, "/") > 64 {
		w.refuse(dir, "too-deep", "directories are nested more than 64 deep")
		return
	}
	entries, err := fs.ReadDir(tree, dir)
	if err != nil {
		w.refuse(dir, "unreadable-directory", "the directory can not be read: "+err.Error())
		return
	}
	for _, e := range entries {
		switch name := path.Join(dir, ignoreFile); {
		case e.Name() != ignoreFile || e.IsDir():
		case e.Type().IsRegular():
			rules = w.ignoreRules(tree, name, dir, rules)
		default:
			w.diags.Warnf(Pos{name, 1, 1}, "not-a-file", "only a regular file says what to ignore, so this one says nothing")
		}
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		ext := path.Ext(name)
		isFile := ext == ".yaml" || ext == ".yml"
		switch {
		case strings.HasPrefix(e.Name(), "."), !e.IsDir() && !isFile, ignored(rules, name, e.IsDir()):
		case e.IsDir():
			w.dir(tree, name, rules)
		case e.Type()&fs.ModeSymlink != 0:
			w.diags.Warnf(Pos{name, 1, 1}, "symbolic-link", "symbolic links are not followed")
		case !e.Type().IsRegular():
			w.diags.Warnf(Pos{name, 1, 1}, "not-a-file", "only regular files are read")
		case len(w.files) >= maxFiles:
			w.refuse(name, "too-large", "the tree has too many files; this one and those after it are not read")
			return
		default:
			w.files = append(w.files, name)
		}
	}
}

func (w *walkResult) refuse(name, code, message string) {
	w.diags.Errorf(Pos{name, 1, 1}, code, "%s", message)
	w.unreadable = append(w.unreadable, name)
}

func (w *walkResult) ignoreRules(tree fs.FS, name, dir string, rules []ignoreRule) []ignoreRule {
	text, fail := readFile(tree, name)
	if fail != nil {
		w.refuse(name, fail.code, fail.message)
		return rules
	}
	rules = rules[:len(rules):len(rules)]
	line := 0
	for l := range strings.Lines(text) {
		line++
		rule, ok, err := parseIgnore(strings.TrimRight(l, "\r\n"), dir)
		if err != nil {
			w.diags.Errorf(Pos{name, line, 1}, "bad-pattern", "%q is not a pattern of gitignore", brief(strings.TrimSpace(l))).Offending(strings.TrimSpace(l))
		} else if ok {
			rules = append(rules, rule)
		}
	}
	return rules
}
