// Package examples holds whole trees that are documentation and test at once;
// one of them is what weft init writes.
package examples

import "embed"

// Starter is the tree that weft init writes.
//
//go:embed single-host/cloud.yaml single-host/README.md
var Starter embed.FS
