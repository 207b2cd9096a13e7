package vpn

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// What pppd would take for something else is no password, and that of one user is no
// mistake of the others.
func TestL2TPUsers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bad := map[string]string{"empty": "", "long": strings.Repeat("x", 256), "zero": "a\x00b", "file": "@/etc/passwd"}
	good := map[string]string{"usual": "secret", "at": "@home", "full": strings.Repeat("y", 255), "hostile": "\" * *\n\"root\" * \"\" *\n#\\"}
	list := ""
	for _, all := range []map[string]string{bad, good} {
		for name, text := range all {
			write(name, text)
			list += `{"user":"` + name + `","file":"` + name + "\"}\n"
		}
	}
	write("users", list+`{"user":"none","file":"../none"}`+"\n")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	l := l2tp{dir: root}
	users, err := l.read()
	if err != nil {
		t.Fatal(err)
	}
	bad["none"] = ""
	for name := range bad {
		if users[name].bad == nil || users[name].password != nil {
			t.Errorf("%s is taken", name)
		}
	}
	text := secretsOf(users)
	for name := range good {
		if users[name].bad != nil || !strings.Contains(text, `"`+name+`" weft "`) {
			t.Errorf("%s: %v", name, users[name].bad)
		}
	}
	if strings.Count(text, "\n") != len(good) || len(strings.Fields(text)) != 4*len(good) {
		t.Errorf("secrets:\n%s", text)
	}
	write("users", list+list)
	if _, err := l.read(); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a user is there twice: %v", err)
	}
}

// Who has no password any more that can be used has the one before, as IPsec's have.
func TestL2TPKeeps(t *testing.T) {
	bad := errors.New("it is empty")
	now := map[string]l2tpUser{"ann": {Name: "ann", password: []byte("one")}, "bob": {Name: "bob", password: []byte("two")}, "eve": {Name: "eve", bad: bad}}
	next := map[string]l2tpUser{"ann": {Name: "ann", bad: bad}, "bob": {Name: "bob", password: []byte("three")}, "eve": {Name: "eve", bad: bad}, "new": {Name: "new", bad: bad}}
	keep(now, next)
	if u := next["ann"]; string(u.password) != "one" || !errors.Is(u.bad, bad) {
		t.Errorf("ann: %+v", u)
	}
	if got, want := secretsOf(next), "\"ann\" weft \"one\" *\n\"bob\" weft \"three\" *\n"; got != want {
		t.Errorf("secrets:\n%s", got)
	}
}

// What wg prints of users is read as it is meant.
func TestDumped(t *testing.T) {
	got := dumped("private\tpublic\t51820\toff\n" +
		"ann=\t(none)\t198.51.100.9:4711\t10.254.0.2/32\t1700000000\t123\t456\t25\n" +
		"bob=\t(none)\t(none)\t10.254.0.3/32\t0\t0\t0\toff\n")
	if ann := got["ann="]; len(got) != 2 || ann.from != "198.51.100.9:4711" || ann.handshake.Unix() != 1700000000 || ann.in != 123 || ann.out != 456 {
		t.Errorf("%+v", got)
	}
	if bob := got["bob="]; !bob.handshake.IsZero() || bob.from != "" {
		t.Errorf("%+v", bob)
	}
}
