package schema

import (
	"bytes"
	"strings"
)

// archive is a txtar file: a comment and files, each behind a line "-- NAME --".
type archive struct {
	comment []byte
	files   []archiveFile
}

type archiveFile struct {
	name string
	data []byte
}

func parseArchive(text []byte) archive {
	var a archive
	into := &a.comment
	for line := range bytes.Lines(text) {
		s := strings.TrimSuffix(string(line), "\n")
		if name, ok := strings.CutPrefix(s, "-- "); ok && strings.HasSuffix(name, " --") {
			a.files = append(a.files, archiveFile{name: strings.TrimSuffix(name, " --")})
			into = &a.files[len(a.files)-1].data
			continue
		}
		*into = append(*into, line...)
	}
	return a
}

func (a archive) format() []byte {
	out := bytes.Clone(a.comment)
	for _, f := range a.files {
		out = append(out, "-- "+f.name+" --\n"...)
		out = append(out, f.data...)
	}
	return out
}
