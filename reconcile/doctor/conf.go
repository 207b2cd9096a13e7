package doctor

import (
	"path"
	"slices"
	"strings"
)

// setting is the last value of a key in a section of configuration files, as systemd and
// NetworkManager read them: the main file, then drop-ins in the order of their names, of
// which one in an earlier directory hides those of its name in later ones.
func (x *exam) setting(section, key string, main []string, dirs ...string) (value string, set bool) {
	take := func(name string) {
		if v, ok := iniValue(x.read(name), section, key); ok {
			value, set = v, true
		}
	}
	for _, name := range main {
		if x.exists(name) {
			take(name)
			break
		}
	}
	where := map[string]string{}
	var names []string
	for _, dir := range dirs {
		for _, file := range x.glob(dir + "/*.conf") {
			if name := path.Base(file); where[name] == "" {
				where[name] = file
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		take(where[name])
	}
	return value, set
}

// iniValue is the last value of key in [section].
func iniValue(text, section, key string) (value string, set bool) {
	in := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			in = strings.Trim(line, "[]")
		case in == section:
			if k, v, ok := strings.Cut(line, "="); ok && strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(k), "+")) == key {
				value, set = strings.TrimSpace(v), true
			}
		}
	}
	return value, set
}

// yes reports whether systemd takes a word for true.
func yes(word string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(word))
}
