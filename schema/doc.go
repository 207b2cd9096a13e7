// Package schema is the language of weft: what goes in is a tree of YAML files, what comes out
// are typed documents with positions and all diagnostics at once. It is pure: no disk, no
// clock, no network; the files come from an fs.FS. It knows one document at a time, plus the
// uniqueness of identities; what concerns several documents belongs to reconcile/model.
//
// Every other package may import it; it imports none of them.
package schema

//go:generate go test -run ^TestSchemaFiles$ -update .
