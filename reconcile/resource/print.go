package resource

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// hash builds fingerprints: every value is written with its length, so that
// neighbours cannot be confused. The sum ends it.
type hash struct{ text *[]byte }

// texts are those of hashes that ended; one stays small.
var texts = sync.Pool{New: func() any { return new([]byte) }}

const maxText = 64 << 10

func newHash(kind string) hash {
	h := hash{texts.Get().(*[]byte)}
	*h.text = (*h.text)[:0]
	return h.str(kind)
}

func (h hash) str(s string) hash {
	b := binary.LittleEndian.AppendUint64(*h.text, uint64(len(s)))
	*h.text = append(b, s...)
	return h
}

func (h hash) strs(l []string) hash {
	h.num(uint64(len(l)))
	for _, s := range l {
		h.str(s)
	}
	return h
}

func (h hash) num(n uint64) hash {
	*h.text = binary.LittleEndian.AppendUint64(*h.text, n)
	return h
}

func (h hash) flag(b bool) hash {
	if b {
		return h.num(1)
	}
	return h.num(0)
}

func (h hash) sum() uint64 {
	n := xxhash.Sum64(*h.text)
	if cap(*h.text) <= maxText {
		texts.Put(h.text)
	}
	return n
}

// Digest hashes texts into one number, the same in every process.
func Digest(parts ...string) uint64 { return newHash("digest").strs(parts).sum() }

// Short returns a name of at most limit bytes (at least 10) made of parts: what
// is readable of them, joined by "-", and seven characters of hash whenever
// something had to be cut or changed. It is the only place where names with a length limit are
// made (interfaces 15, chains 28, sets 31). Allowed characters are letters,
// digits, "-", "_" and "."; others become "-".
func Short(limit int, parts ...string) string {
	full := strings.Join(parts, "-")
	clean := []byte(full)
	// A part with a "-" of its own could read like two parts.
	changed := len(full) > limit || len(parts) > 1 && strings.Count(full, "-") >= len(parts)
	for i, c := range clean {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			clean[i], changed = '-', true
		}
	}
	if !changed {
		return full
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], Digest(parts...))
	tail := hex.EncodeToString(b[:])[:7]
	return string(clean[:min(len(clean), limit-8)]) + "-" + tail
}
