package resource

import (
	"cmp"
	"slices"

	"weft.dev/schema"
)

// An Author is who wrote what a line of a state follows from: a place in a document,
// and the NIC, "account/vm/nic", where it is for one. The zero Author is whoever asked
// for the whole state. Authors are no part of a state: moved lines are an empty plan.
type Author struct {
	Pos schema.Pos `json:"pos,omitzero"`
	NIC string     `json:"nic,omitempty"`
}

// Authored states know who wrote each line of their field that has Lines.
type Authored interface {
	// Author is that of a line, from 0; the zero Author beyond the last.
	Author(line int) Author
}

// AuthorOf is who wrote a line of st.
func AuthorOf(st State, line int) Author {
	if a, ok := st.(Authored); ok && line >= 0 {
		return a.Author(line)
	}
	return Author{}
}

// Author implements Authored.
func (c Chain) Author(line int) Author {
	if line >= len(c.Rules) {
		return Author{}
	}
	return Author{Pos: c.Rules[line].Origin}
}

// Author implements Authored.
func (f Flows) Author(line int) Author {
	if line >= len(f.Rules) || f.Rules[line].By == 0 || int(f.Rules[line].By) > len(f.Authors) {
		return Author{}
	}
	return f.Authors[f.Rules[line].By-1]
}

// Write adds rules that author wrote.
func (f *Flows) Write(author Author, rules ...Flow) {
	if len(rules) == 0 {
		return
	}
	if n := len(f.Authors); n == 0 || f.Authors[n-1] != author {
		f.Authors = append(f.Authors, author)
	}
	for i := range rules {
		rules[i].By = uint32(len(f.Authors))
	}
	f.Rules = append(f.Rules, rules...)
}

// Join adds the rules of o with their authors.
func (f *Flows) Join(o Flows) {
	for _, r := range o.Rules {
		if r.By != 0 {
			r.By += uint32(len(f.Authors))
		}
		f.Rules = append(f.Rules, r)
	}
	f.Authors = append(f.Authors, o.Authors...)
}

// A Lines is some lines of a file with one author.
type Lines struct {
	From int    `json:"from"` // the first one, from 0
	N    int    `json:"n"`
	By   Author `json:"by"`
}

// Author implements Authored.
func (f File) Author(line int) Author {
	i, found := slices.BinarySearchFunc(f.Authors, line, func(l Lines, line int) int { return cmp.Compare(l.From, line) })
	if !found {
		i--
	}
	if i < 0 || line >= f.Authors[i].From+f.Authors[i].N {
		return Author{}
	}
	return f.Authors[i].By
}
