package schema

import (
	"fmt"
	"strings"
)

// nearest returns the word that was probably meant, or "": equal but for case and hyphens, or a
// few typing mistakes away.
func nearest(text string, words []string) string {
	if len(text) > 64 {
		return ""
	}
	fold := strings.NewReplacer("-", "", "_", "", " ", "")
	plain := strings.ToLower(fold.Replace(text))
	best, bestDistance := "", 1+min(len(plain)/3, 3)
	for _, word := range words {
		w := strings.ToLower(fold.Replace(word))
		if w == plain {
			return word
		}
		if d := distance(plain, w); d < bestDistance {
			best, bestDistance = word, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours that
// make b of a (optimal string alignment).
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}

// didYouMean is the hint for an unknown word.
func didYouMean(text string, words []string) string {
	if word := nearest(text, words); word != "" {
		return fmt.Sprintf("did you mean %q?", word)
	}
	if len(words) == 0 {
		return ""
	}
	return "known are " + list(words)
}

func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
