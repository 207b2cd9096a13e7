// Package source is where trees of documents come from: a Git repository that
// is followed (agent), the checkout a person stands in (command line, CI), or a
// plain directory.
//
// In goes a place: a URL with a branch, tag or commit, or a path. Out comes a
// [Revision], which names a commit, and a [Tree], which is an fs.FS over its
// files. Nothing else of Git is visible outside. What the files mean is
// package schema's business; this package only brings them.
//
//	repo, err := source.Open(ctx, source.Config{URL: url, Branch: "main", Dir: dir})
//	wakes, warning := repo.Watch(ctx)
//	for {
//		rev, err := repo.Fetch(ctx) // on an error repo.Last() still stands
//		tree, err := repo.Tree(rev)
//		...
//		<-wakes
//	}
//
// # Rules
//
// A commit is a value: a Tree never changes, and reading one file reads that
// file's object and the directories above it, nothing else. Every object is
// checked against its name when it is read, and Fetch returns a revision only
// after its whole tree was read once, so a torn clone is found here and not in
// the middle of an apply.
//
// The state directory of a [Repo] is a cache. It holds a bare clone which
// ordinary git can read (its HEAD is the last revision), belongs to one process
// at a time, and may be deleted at any time that nobody uses it. A clone that
// is damaged, or that has gathered too many packs, is made anew beside the old
// one and replaces it when it is whole.
//
// A repository on this machine is read in this process: neither the git binary
// nor git's safe.directory is needed, and nothing in it is executed.
//
// Symbolic links and submodules are listed with their type and never followed:
// opening one is [ErrSymlink] or [ErrSubmodule]. The same holds for links in a
// plain directory, so a tree cannot show what lies outside it. Entries named
// .git are left out.
//
// # Errors
//
// Messages are in the words of somebody who uses git, and never contain a
// password or a token. What a caller may want to tell apart matches one of the
// Err variables under errors.Is.
//
// # Blocking
//
// Open, Dir, Local and Publish work on local disks only. Fetch talks to the
// network, one call at a time, and ends at the latest with its context or
// Config.Timeout. Trees, Repos and Checkouts may be used by many goroutines.
//
// The package belongs to the shell: cmd, the engine and the lab may import it,
// the core must not. It logs nothing.
package source
