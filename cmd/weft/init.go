package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"weft.dev/examples"
	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/host"
)

const attributes = "# Two branches' numbers seldom meet; weft lock --base mends it where they do.\n" + alloc.FileName + " merge=union\n"

func (a *app) initTree() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a commented starter tree",
		Long: `Write a starter tree into DIR (default: here): one host, one network, two machines. It
validates, is locked and runs in the lab. Files that are there are never overwritten.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.doInit(dirArg(args)) },
	}
}

func (a *app) doInit(dir string) error {
	files := map[string][]byte{".gitattributes": []byte(attributes)}
	for _, name := range []string{"cloud.yaml", "README.md"} {
		b, err := fs.ReadFile(examples.Starter, "single-host/"+name)
		if err != nil {
			return err
		}
		files[name] = b
	}
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s is there already: nothing was written", filepath.Join(dir, name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range []string{".gitattributes", "README.md", "cloud.yaml"} {
		if err := host.WriteFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			return err
		}
		fmt.Fprintln(a.out, filepath.Join(dir, name))
	}
	if err := a.doLock(dir, lockFlags{format: "text"}); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "Next: weft validate %s; weft lab up %s\n", dir, dir)
	return nil
}
