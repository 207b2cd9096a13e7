package schema

import "regexp"

// word is what YAML's many versions take a plain scalar for. The language takes it for what the
// field asks for and nothing else, so that 010, yes or 1e3 never mean what nobody wrote.
type word uint8

const (
	textWord word = iota
	nullWord
	boolWord  // true, false
	yesNoWord // a boolean in YAML 1.1, text in 1.2
	intWord   // plain decimal
	octalWord // looks like an octal number
	otherWord // another number: hexadecimal, float, with underscores or sign
)

func classify(s string) word {
	if isNull(s) {
		return nullWord
	}
	switch c := s[0]; {
	case isDigit(c), c == '+', c == '-', c == '.':
		return classifyNumber(s)
	}
	switch s {
	case "true", "false":
		return boolWord
	case "yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF",
		"True", "TRUE", "False", "FALSE":
		return yesNoWord
	}
	return textWord
}

func classifyNumber(s string) word {
	switch s {
	case ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "-.inf", "+.Inf", "-.Inf", "+.INF", "-.INF":
		return otherWord
	}
	digits := s
	if s[0] == '-' || s[0] == '+' {
		digits = s[1:]
	}
	if digits == "" {
		return textWord
	}
	plain, octal := true, true
	for i := 0; i < len(digits); i++ {
		plain = plain && isDigit(digits[i])
		octal = octal && '0' <= digits[i] && digits[i] <= '7'
	}
	switch {
	case plain && (digits[0] != '0' || len(digits) == 1) && s[0] != '+':
		return intWord
	case plain && digits[0] == '0':
		return octalWord
	case plain || otherNumber.MatchString(digits):
		return otherWord
	}
	return textWord
}

// otherNumber knows hexadecimal, 0o and 0b numbers, floats, and digits with underscores, without
// the sign.
var otherNumber = regexp.MustCompile(`^(0[xob][0-9a-fA-F_]+|([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][+-]?[0-9]+)?)$`)

// isNull reports whether YAML takes a plain scalar for null.
func isNull(s string) bool {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}
