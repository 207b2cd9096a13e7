package schema

import (
	"math"
	"strconv"
)

// Pos is a place in a file. Line and Col are 1-based, Col counts characters, not bytes; zero
// means no place (a whole file, or nothing at all when File is empty too).
type Pos struct {
	File string
	Line int
	Col  int
}

// IsZero reports whether p names nothing, not even a file.
func (p Pos) IsZero() bool { return p == Pos{} }

// String is "file:line:col", "file:line", "file", or "-" for no place.
func (p Pos) String() string {
	file := clean(p.File)
	if file == "" {
		file = "-"
	}
	switch {
	case p.Line <= 0:
		return file
	case p.Col <= 0:
		return file + ":" + strconv.Itoa(p.Line)
	}
	return file + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Col)
}

// compare orders places by file, line, column.
func (p Pos) compare(q Pos) int {
	switch {
	case p.File != q.File:
		if p.File < q.File {
			return -1
		}
		return 1
	case p.Line != q.Line:
		return p.Line - q.Line
	}
	return p.Col - q.Col
}

// Pos32 is a place in the file of the document it belongs to, small enough to be kept in every
// list item; Document.PosOf makes a Pos of it. Zero means no place.
type Pos32 struct {
	Line uint32
	Col  uint16
}

// IsZero reports whether p names no place.
func (p Pos32) IsZero() bool { return p == Pos32{} }

// pos32 narrows a place; a column too large for it becomes the largest.
func pos32(line, col int) Pos32 {
	return Pos32{Line: uint32(min(max(line, 0), math.MaxUint32)), Col: uint16(min(max(col, 0), math.MaxUint16))}
}
