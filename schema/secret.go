package schema

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// secretWords are the fields, of this release and of later ones, whose values no output shows.
var secretWords = []string{"password", "psk", "privateKey", "key", "userData"}

// fieldWords are all fields of the language.
var fieldWords = func() map[string]bool {
	words := map[string]bool{}
	if len(specTables) == 0 || metaTable == nil {
		panic("schema: the words are asked for before the tables") // naming them orders the initialisation
	}
	for _, t := range tables {
		for _, name := range t.names {
			words[name] = true
		}
	}
	return words
}()

// isSecretWord reports whether a field is one of secretWords or may be meant for one.
func isSecretWord(word string) bool {
	return slices.Contains(secretWords, word) || len(word) > 3 && !fieldWords[word] && nearest(word, secretWords) != ""
}

// hidden stands for a secret in a message.
const hidden = "***"

// shown is text as a message may have it.
func (d *decoder) shown(text string) string {
	if d.hidden {
		return hidden
	}
	return brief(text)
}

// mask returns a text of YAML with what stands in secret fields as asterisks, one for each
// character, so that every place stays what it is. It looks at lines, not at YAML: what is
// broken must not show either. Where it cannot tell how far a secret goes, it hides more.
func mask(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	m := masker{deeper: -1}
	for line := range strings.Lines(text) {
		body := strings.TrimRight(line, "\r\n")
		m.line(&b, body)
		b.WriteString(line[len(body):])
	}
	return b.String()
}

// masker is what mask knows of the lines before.
type masker struct {
	deeper int  // lines that are indented more belong to a secret; -1: none
	list   bool // and so do lines of this indentation that start with - or :
	quote  byte // that a secret has opened and not closed
}

func (m *masker) line(b *strings.Builder, body string) {
	indent := len(body) - len(strings.TrimLeft(body, " "))
	from := 0
	switch {
	case isSeparator(body):
		*m = masker{deeper: -1}
	case m.quote != 0:
		from = m.closeQuote(body, 0)
		b.WriteString(stars(body[:from]))
	case indent == len(body): // blank lines end nothing
	case m.deeper >= 0 && m.continues(body[indent:], indent):
		if !isSecretFile(body[indent:]) {
			body = body[:indent] + stars(body[indent:])
		}
		b.WriteString(body)
		return
	default:
		m.deeper = -1
	}
	for from < len(body) {
		key, value, word := nextKey(body, from)
		if value < 0 {
			break
		}
		b.WriteString(body[from:value])
		from = value
		if isSecretWord(word) {
			from = m.value(body, indent, key, value)
			if part := body[value:from]; isSecretFile(strings.Trim(part, "{} ")) || blockScalar.MatchString(part) {
				b.WriteString(part)
			} else {
				b.WriteString(stars(part))
			}
		}
	}
	b.WriteString(body[from:])
}

func (m *masker) continues(content string, indent int) bool {
	// A tab is no indentation in YAML, but is where somebody takes it for one.
	return indent > m.deeper || content[0] == '\t' || m.list && indent == m.deeper && (content[0] == '-' || content[0] == ':')
}

// value returns where the secret that starts at value ends on its line, and remembers how it
// goes on. key is where its field starts.
func (m *masker) value(body string, indent, key, value int) int {
	rest := body[value:]
	flow := strings.ContainsAny(body[:key], "{[")
	if m.deeper = key; flow {
		m.deeper = indent
	}
	m.list = rest == ""
	end := len(rest)
	switch {
	case rest == "":
	case rest[0] == '"' || rest[0] == '\'':
		m.quote = rest[0]
		end = m.closeQuote(rest, 1)
	case rest[0] == '{' || rest[0] == '[':
		end = closeBracket(rest)
	case flow:
		if i := strings.IndexAny(rest, ",]}"); i >= 0 {
			end = i
		}
	}
	if !flow && m.quote == 0 && !isSecretFile(strings.Trim(rest[:end], "{} ")) {
		end = len(rest)
	}
	return value + end
}

// closeQuote returns where the quote that is open at from is closed, behind it; or the end.
func (m *masker) closeQuote(s string, from int) int {
	for i := from; i < len(s); i++ {
		switch {
		case s[i] == '\\' && m.quote == '"':
			i++
		case s[i] == m.quote && m.quote == '\'' && strings.HasPrefix(s[i+1:], "'"):
			i++
		case s[i] == m.quote:
			m.quote = 0
			return i + 1
		}
	}
	return len(s)
}

// closeBracket returns where the bracket that s starts with is closed, behind it; or the end.
func closeBracket(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

var (
	secretFile  = regexp.MustCompile(`^["']?secretFile["']?\s*:\s*["']?([^"',]*)["']?\s*$`)
	blockScalar = regexp.MustCompile(`^[|>][-+0-9]*\s*$`)
)

// nextKey finds the next field of a line: where it starts, and where its value does; -1: none.
func nextKey(s string, from int) (key, value int, word string) {
	for at := from; ; at = value {
		i := strings.IndexByte(s[at:], ':')
		if i < 0 {
			return explicitKey(s, from)
		}
		colon := at + i
		end := from + len(strings.TrimRight(s[from:colon], " "))
		quoted := end > from && (s[end-1] == '"' || s[end-1] == '\'')
		if quoted {
			end--
		}
		key = end
		for key > from && (isAlnum(s[key-1]) || s[key-1] == '-' || s[key-1] == '_') {
			key--
		}
		word = s[key:end]
		if quoted && (key == from || s[key-1] != s[end]) {
			word = "" // of several words
		}
		value = colon + 1
		rest := strings.TrimLeft(s[value:], " \t")
		if word != "" && (quoted || rest == "" || len(rest) < len(s)-value) {
			return key, len(s) - len(rest), word
		}
	}
}

// explicitKey finds a field that stands alone behind a question mark.
func explicitKey(s string, from int) (key, value int, word string) {
	rest := strings.TrimLeft(s[from:], "- ")
	if word, ok := strings.CutPrefix(rest, "? "); ok {
		return len(s) - len(rest), len(s), strings.Trim(word, " \"'")
	}
	return -1, -1, ""
}

// isSecretFile reports whether s names the file of a secret, which is none itself.
func isSecretFile(s string) bool {
	m := secretFile.FindStringSubmatch(s)
	return m != nil && isPath(strings.TrimSpace(m[1]))
}

func stars(s string) string { return strings.Repeat("*", utf8.RuneCountInString(s)) }
