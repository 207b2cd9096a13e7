// Package policies holds the policies that weft brings: each NAME.yaml is one document of kind Policy,
// NAME.test.txtar its test, in the form that weft policy test runs. cmd imports it and hands them to
// reconcile/policy.
package policies

import (
	"embed"
	"slices"
	"sync"

	"weft.dev/schema"
)

//go:embed *.yaml
var files embed.FS

// All returns the policies, by name. Most only warn; those with action Off judge nothing until a tree
// has a document of their name.
var All = sync.OnceValue(func() []*schema.Document {
	tree, ds := schema.Parse(files, nil)
	if len(ds) > 0 {
		panic("policies: " + ds[0].String())
	}
	return slices.Clip(tree.Documents)
})
