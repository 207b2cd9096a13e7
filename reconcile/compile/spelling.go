package compile

import (
	"strings"

	"weft.dev/schema"
)

// source is a file as written, but for its secrets.
type source struct {
	text  string
	lines []int // where each starts
}

// A spelling is what can be told of a document that could not be read.
type spelling struct {
	// words are those that may be names, pairs those that a slash joins.
	words map[string]bool
	pairs [][2]string
	// unclear: names may be spelt in ways that are not seen here.
	unclear bool
}

// spelling reads d, each file once: a mistake may be in every document of it.
func (t *toucher) spelling(d *schema.Document) *spelling {
	src := t.sources[d.File]
	if src == nil {
		src = &source{text: string(t.tree.Source(d.File))}
		for at := 0; at >= 0 && at < len(src.text); {
			src.lines = append(src.lines, at)
			n := strings.IndexByte(src.text[at:], '\n')
			if n < 0 {
				break
			}
			at += n + 1
		}
		t.sources[d.File] = src
	}
	if d.Pos.Line < 1 || d.Pos.Line > len(src.lines) {
		return spell("")
	}
	text := src.text[src.lines[d.Pos.Line-1]:]
	if i := strings.Index(text, "\n---"); i >= 0 {
		text = text[:i]
	}
	return spell(text)
}

func spell(text string) *spelling {
	s := &spelling{words: map[string]bool{}, unclear: strings.ContainsAny(text, "\\&*")}
	before, start := "", -1 // the word that a slash follows at once
	for i := 0; i <= len(text); i++ {
		if i < len(text) && nameByte(text[i]) {
			if start < 0 {
				start = i
			}
			continue
		}
		word := ""
		if start >= 0 {
			word = text[start:i]
			s.words[word] = true
			if before != "" {
				s.pairs = append(s.pairs, [2]string{before, word})
			}
		}
		if before, start = "", -1; i < len(text) && text[i] == '/' {
			before = word
		}
	}
	return s
}

// ids lists what of the kinds may be meant by a document of account: its own by their
// names, those of others with the account.
func (s *spelling) ids(account string, kinds ...string) []schema.ID {
	out := make([]schema.ID, 0, len(kinds)*(len(s.words)+len(s.pairs)))
	for _, kind := range kinds {
		for w := range s.words {
			out = append(out, schema.ID{Kind: kind, Account: account, Name: w})
		}
		for _, p := range s.pairs {
			out = append(out, schema.ID{Kind: kind, Account: p[0], Name: p[1]})
		}
	}
	return out
}

func nameByte(c byte) bool {
	return c == '-' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
}
