package source

import (
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing/object"
)

// What callers may tell apart under errors.Is.
var (
	// ErrNotRepository says that a path holds no Git repository.
	ErrNotRepository = errors.New("not a Git repository")
	// ErrNoRevision says that a repository lacks the branch, tag or commit
	// that was asked for, or has no commit at all.
	ErrNoRevision = errors.New("no such revision")
	// ErrUnreachable says that a repository did not answer.
	ErrUnreachable = errors.New("repository does not answer")
	// ErrDenied says that a repository answered and refused.
	ErrDenied = errors.New("repository refuses access")
	// ErrDamaged says that an object is missing or is not what its name says.
	ErrDamaged = errors.New("repository is damaged")
	// ErrSymlink is what opening a symbolic link of a Tree gives.
	ErrSymlink = errors.New("is a symbolic link, and links are not followed")
	// ErrSubmodule is what opening a submodule of a Tree gives.
	ErrSubmodule = errors.New("is a Git submodule, and submodules are not followed")
	// ErrSpecial is what opening a socket, pipe or device gives.
	ErrSpecial = errors.New("is not a regular file")
	// ErrChanged says that a file changed while its directory was being read;
	// a new Dir sees the new state.
	ErrChanged = errors.New("changed while it was being read")
	// ErrTooLarge is what reading a file of more than 64 MiB gives.
	ErrTooLarge = errors.New("is larger than 64 MiB")
	// ErrInUse says that another process holds a state directory.
	ErrInUse = errors.New("another process uses this directory")
)

// maxFile bounds what one read may bring into memory. Documents are a few
// kilobytes; whoever can push can also push a disk image.
const maxFile = 64 << 20

// problem is an error whose text is for people and whose kind is for programs.
// It does not wrap the error it was made from: that one may quote credentials.
type problem struct {
	kind error
	text string
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.kind }

// A Revision is a commit under the name by which it was found. The zero value
// is no revision.
type Revision struct {
	// Ref is the branch or tag as users write it, empty for a bare commit.
	Ref string
	// Commit is the commit's id, 40 hex digits.
	Commit string
	// Author is the author's name, Subject the first line of the message. Both
	// are free of control characters and at most 200 characters long.
	Author, Subject string
	// Time is when the commit was made, in UTC.
	Time time.Time
	// Rewritten is true when the Fetch that returned it left the commit that
	// was followed before: the branch was force-pushed, or the tag moved.
	Rewritten bool
}

// String returns "main@sha1:<40 hex>", without a Ref "sha1:<40 hex>", and
// "none" for the zero value.
func (r Revision) String() string {
	switch {
	case r.Commit == "":
		return "none"
	case r.Ref == "":
		return "sha1:" + r.Commit
	}
	return r.Ref + "@sha1:" + r.Commit
}

// Short returns the commit's first 12 digits.
func (r Revision) Short() string {
	return r.Commit[:min(12, len(r.Commit))]
}

func revisionOf(ref string, c *object.Commit) Revision {
	author := printable(c.Author.Name)
	if author == "" {
		author = printable(c.Author.Email)
	}
	subject, _, _ := strings.Cut(strings.TrimLeft(c.Message, "\r\n\t "), "\n")
	return Revision{
		Ref:     ref,
		Commit:  c.Hash.String(),
		Author:  author,
		Subject: printable(subject),
		Time:    c.Committer.When.UTC(),
	}
}

// printable makes text of a commit safe to print: whoever can push writes it,
// and it ends on operators' terminals and in logs.
func printable(s string) string {
	const limit = 200
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(strings.TrimSpace(s), string(utf8.RuneError)) {
		if n == limit {
			b.WriteString("…")
			break
		}
		n++
		if !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}
