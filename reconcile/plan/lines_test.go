package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestDiffLinesIsComplete rebuilds both texts from their difference.
func TestDiffLinesIsComplete(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 31))
		text := func() []string {
			l := make([]string, r.IntN(12))
			for i := range l {
				l[i] = fmt.Sprint(r.IntN(5))
			}
			return l
		}
		a, b := text(), text()
		var was, will []string
		edits := 0
		for _, l := range middle(a, b) {
			if l.Op != "+" {
				was = append(was, l.Text)
			}
			if l.Op != "-" {
				will = append(will, l.Text)
			}
			if l.Op != "" {
				edits++
			}
		}
		if len(a) > 0 && len(b) > 0 && (!slices.Equal(was, a) || !slices.Equal(will, b)) {
			t.Fatalf("seed %d: from %v to %v it says from %v to %v", seed, a, b, was, will)
		}
		if least := len(a) + len(b) - 2*common(a, b); edits != least && len(a) > 0 && len(b) > 0 {
			t.Fatalf("seed %d: from %v to %v takes %d edits, want %d", seed, a, b, edits, least)
		}
	}
}

// common is the length of the longest common subsequence.
func common(a, b []string) int {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	if a[0] == b[0] {
		return 1 + common(a[1:], b[1:])
	}
	return max(common(a[1:], b), common(a, b[1:]))
}

func TestVeryDifferentTextsAreComparedAsSets(t *testing.T) {
	lines := func(prefix string) string {
		var l []string
		for i := range 3000 {
			l = append(l, fmt.Sprint(prefix, i))
		}
		return strings.Join(l, "\n")
	}
	if got := len(diffLines(lines("a"), lines("b"))); got != 6000 {
		t.Errorf("got %d lines, want 6000", got)
	}
}
