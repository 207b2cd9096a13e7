package health

import (
	"errors"

	"weft.dev/reconcile/status"
)

// session takes the reply of a BGP session out of an answer.
func (a answer) session() (answer, *status.BGP) {
	if errors.Is(a.err, ErrAbsent) {
		return a, nil
	}
	text := a.words
	if a.err != nil {
		text = a.err.Error()
	}
	line, b := status.ParseBGP(text)
	if a.err != nil {
		a.err = errors.New(line)
	}
	a.words = line
	return a, b
}

// sessionsOf is what of a session is news when it is another: which one it is, and what
// is told over it.
func sessionsOf(b *status.BGP) [2]int {
	if b == nil {
		return [2]int{-1, -1}
	}
	return [2]int{b.Sessions, b.Told}
}
