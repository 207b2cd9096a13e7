package plugintest

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile"
	"weft.dev/reconcile/plugin"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// HostileValues are those of somebody who wants more than a name.
var HostileValues = []string{
	"a\nport=0", "a\nCOMMIT", "a\r\nb", "a\rb", "a\x00b", "a\tb", "a\u0085b", "a\u2028b", "\u202eweb", "web\u200b", "w\u0435b", "\uff57eb", "\u00e9",
	"a'b", `a"b`, `a" -j ACCEPT`, `a\`, "a;reboot", "$(reboot)", "${IFS}", "`reboot`", "a|b", "a&b", "a>b", "!a", "%s%n", "a b", " a", "a ", "#", "a#b",
	"-j ACCEPT", "--conf-file=/etc/passwd", "-a", "a-", "_a", "a_b", "{run}", "{run}/../../x", "..", ".", "../../etc/passwd", ".hidden", "a/b", "/etc/passwd", "a//b",
	"a,b", "a,ignore", "a=b", "a:b", "tag:extra", "set:extra", "id:*", "*", "eth*", "a.b", "a.", ".a", "a..b", "A", "WEB", "ACCEPT", "DROP", "INPUT",
	"ignore", "infinite", "2h", "45m", "60", "1w", "web7", "7web", "0", "007", "1e3", "0x1f", "localhost", "10.1.1.77", "1.1.5", "null", "~", "yes", "true", "", "[]", "{}",
	"lo", "all", "default", "eth0", "eth1", "weft", "weft-int", "vnet7", "system", "host", "dnsmasq", "leases", "con", "aux",
	"10.1.1.0/24\n", "10.1.1.9\n", "::ffff:10.1.1.12", "0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", "127.0.0.0/8", "10.1.1.300", "1-65535", "9223372036s", "2562047h",
	strings.Repeat("a", 15), strings.Repeat("a", 16), strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("9", 63), strings.Repeat("a-", 31) + "a",
	strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 61), strings.Repeat("a.", 200), strings.Repeat("x", 5000),
}

var placeholder = regexp.MustCompile(`<<([a-z-]+)=([^>]*)>>`)

// Hostile puts every hostile value in the place of every string of the tree in
// file, where these stand as <<NAME=usual value>>. Where nobody refuses the value,
// accept sees what becomes of it. A field in must of which no value is accepted is a
// failure: nothing was tried then. Hostile returns the intent with the usual values.
func Hostile(t *testing.T, r plugin.Registry, file string, must []string, accept func(field, value string, usual, got *resource.Intent)) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cache := new(schema.Cache)
	usual, ok := judge(t, r, cache, string(text), "", "")
	if !ok {
		t.Fatal("the usual values are refused")
	}
	var fields []string
	for _, m := range placeholder.FindAllStringSubmatch(string(text), -1) {
		fields = append(fields, m[1])
	}
	slices.Sort(fields)
	accepted := map[string]int{}
	for _, field := range slices.Compact(fields) {
		for _, value := range HostileValues {
			if got, ok := judge(t, r, cache, string(text), field, value); ok {
				accepted[field]++
				accept(field, value, usual, got)
			}
		}
	}
	for _, field := range must {
		if accepted[field] == 0 {
			t.Errorf("no value of %s was accepted", field)
		}
	}
}

// judge compiles the tree with value in the place of field, for its first host. It
// returns false where somebody refuses it.
func judge(t *testing.T, r plugin.Registry, cache *schema.Cache, text, field, value string) (*resource.Intent, bool) {
	t.Helper()
	text = placeholder.ReplaceAllStringFunc(text, func(s string) string {
		m := placeholder.FindStringSubmatch(s)
		if m[1] == field {
			return strconv.Quote(value)
		}
		return strconv.Quote(m[2])
	})
	var files []txtar.File // one a document, so that the cache knows the others
	for i, doc := range strings.Split(text, "\n---\n") {
		files = append(files, txtar.File{Name: fmt.Sprint(i, ".yaml"), Data: []byte(doc + "\n")})
	}
	tree, ds := schema.Parse(treeOf(files), cache)
	for _, d := range ds {
		if d.Pos.IsZero() {
			t.Errorf("%s = %q: a diagnostic without a place: %s", field, value, d.String())
		}
	}
	if ds.HasErrors() {
		return nil, false
	}
	c := compile.New(r)
	lock, _, ds := alloc.Allocate(c.Update(tree, nil, nil).Demands(), nil, alloc.Options{})
	res := c.Update(tree, lock, nil)
	if ds.HasErrors() || res.Diags.HasErrors() {
		return nil, false
	}
	return res.Intent(res.Hosts()[0]), true
}
