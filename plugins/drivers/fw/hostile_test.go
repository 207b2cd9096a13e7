package fw_test

// hostile are names as somebody would choose who wants more than a comment.
var hostile = []string{
	"plain",
	"a\nCOMMIT\n*filter\n-P INPUT ACCEPT\nCOMMIT",
	"a\r\n-A INPUT -j ACCEPT",
	`quote" -j ACCEPT`,
	`quote' -j ACCEPT`,
	`back\`,
	`back\" -j ACCEPT`,
	`\\" -j ACCEPT`,
	"$(reboot) `reboot` ; reboot",
	"-j ACCEPT",
	"tab\there \x00 nul \x1b[31m",
	"\u2028\u202e line",
	"\xff\xfe broken",
	"ünïcödé",
	"x" + string(make([]byte, 300)),
	"long " + longName,
	longName + `"`,
}

// longName is cut in the middle of a character.
var longName = func() string {
	s := ""
	for range 200 {
		s += "ü"
	}
	return s
}()
