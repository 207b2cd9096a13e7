package schema

import (
	"path"
	"strings"
)

// ignoreRule is a line of gitignore syntax. The package of go-git for it opens files itself and
// brings a file system in, so the rules are kept here.
type ignoreRule struct {
	dir      string // that the rule's file is in
	parts    []string
	anywhere bool // a pattern without slash: matches at any depth
	dirOnly  bool
	include  bool // "!": takes back what an earlier rule ignored
}

// parseIgnore reads a line; ok is false for blank lines and comments.
func parseIgnore(line, dir string) (rule ignoreRule, ok bool, err error) {
	if strings.HasPrefix(line, "#") {
		return rule, false, nil
	}
	for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
		line = line[:len(line)-1]
	}
	rule.dir = dir
	if line, rule.include = strings.CutPrefix(line, "!"); strings.Trim(line, "/") == "" {
		return rule, false, nil
	}
	line, rule.dirOnly = strings.CutSuffix(line, "/")
	rule.anywhere = !strings.Contains(line, "/")
	rule.parts = strings.Split(strings.TrimPrefix(line, "/"), "/")
	for i, part := range rule.parts {
		part = strings.ReplaceAll(part, "[!", "[^")
		if _, err := path.Match(part, "x"); err != nil {
			return rule, false, err
		}
		if strings.Contains(part, "[:") { // git's [[:alpha:]] is something else to path.Match
			return rule, false, path.ErrBadPattern
		}
		rule.parts[i] = part
	}
	return rule, true, nil
}

// ignored reports whether the last rule that matches a path says so. Rules of directories above
// come first. What is below an ignored directory is never asked for.
func ignored(rules []ignoreRule, name string, isDir bool) bool {
	for i := len(rules) - 1; i >= 0; i-- {
		if rules[i].matches(name, isDir) {
			return !rules[i].include
		}
	}
	return false
}

func (r *ignoreRule) matches(name string, isDir bool) bool {
	if r.dirOnly && !isDir {
		return false
	}
	if r.dir != "." {
		rest, ok := strings.CutPrefix(name, r.dir+"/")
		if !ok {
			return false
		}
		name = rest
	}
	if r.anywhere {
		ok, _ := path.Match(r.parts[0], path.Base(name))
		return ok
	}
	return matchParts(r.parts, strings.Split(name, "/"))
}

// matchParts matches a path part by part; ** stands for any number of directories, at the end
// for everything inside. Rows of reachable positions keep it from trying a hostile pattern's
// combinations.
func matchParts(pattern, name []string) bool {
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for i, part := range pattern {
		next := make([]bool, len(name)+1)
		for j := range reach {
			switch {
			case part == "**":
				last := i == len(pattern)-1
				next[j] = reach[j] && !last || j > 0 && (next[j-1] || reach[j-1])
			case j > 0 && reach[j-1]:
				next[j], _ = path.Match(part, name[j-1])
			}
		}
		reach = next
	}
	return reach[len(name)]
}
