package virtualrouter

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"

	"golang.org/x/tools/txtar"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// balanced are the fields whose values stand in haproxy.cfg as they are.
var balanced = []string{"cookie", "app-cookie", "prefix-cookie", "cookie-domain", "path"}

// TestHostileBalancers: whatever a person writes and nobody refuses, there are as
// many lines of as many words as with the usual value, and HAProxy takes them.
func TestHostileBalancers(t *testing.T) {
	tried := map[string]bool{} // one of those that differ in letters and digits only
	must := []string{"balancer", "account", "vm", "nic", "cookie", "app-cookie", "prefix-cookie", "cookie-domain", "network", "public-ip"}
	plugintest.Hostile(t, registry, "testdata/hostile-balancer.yaml", must, func(field, value string, usual, got *resource.Intent) {
		if d := differ(sections(usual), sections(got)); d != "" {
			t.Errorf("%s = %q changes the form: %s", field, value, d)
		}
		if sort := field + signs(value); slices.Contains(balanced, field) && !tried[sort] {
			tried[sort] = true
			haproxyTakes(t, got)
		}
	})
}

// signs are the characters of a text that are no letters or digits, each once.
func signs(s string) string {
	all := slices.Sorted(maps.Keys(maps.Collect(func(yield func(rune, bool) bool) {
		for _, c := range s {
			if !unicode.IsLetter(c) && !unicode.IsDigit(c) && !yield(c, true) {
				return
			}
		}
	})))
	return string(all)
}

// sections are the sections of haproxy.cfg as how many words their lines have, and
// the rules that lead to it.
func sections(in *resource.Intent) []string {
	var out []string
	for _, h := range in.Holds {
		out = append(out, "hold "+h.Cause)
	}
	for _, e := range in.Set() {
		switch st := e.State.(type) {
		case resource.File:
			if path.Base(st.Path) != "haproxy.cfg" {
				continue
			}
			section := ""
			for l := range strings.Lines(st.Parts[0].Text) {
				if !strings.HasPrefix(l, " ") {
					out, section = append(out, section), ""
				}
				section += fmt.Sprint(" ", len(strings.Fields(l)))
			}
			out = append(out, section)
		case resource.Chain:
			out = append(out, fmt.Sprint(st.Table, st.Policy, len(st.Rules)))
		}
	}
	slices.Sort(out)
	return out
}

// haproxyTakes gives haproxy.cfg to HAProxy.
func haproxyTakes(t *testing.T, in *resource.Intent) {
	t.Helper()
	set, dir := in.Set(), t.TempDir()
	write(t, set, dir)
	for _, e := range set {
		f, ok := e.State.(resource.File)
		if !ok || path.Base(f.Path) != "haproxy.cfg" {
			continue
		}
		file := filepath.Join(dir, f.Path)
		argv := []string{"haproxy", "-c", "-C", filepath.Dir(file), "-L", "weft", "-f", file}
		if out, err := exec.Command(tool(t, argv[0]), argv[1:]...).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
			t.Errorf("%v: %s", err, out)
		}
	}
}

// TestEveryCombination: whatever goes together by the language goes together in
// HAProxy too.
func TestEveryCombination(t *testing.T) {
	cookie := []string{"{}", "{mode: insert, indirect: true}", "{cookie-name: S, mode: rewrite, nocache: true, postonly: true}", "{cookie-name: S, mode: prefix, nocache: true, indirect: true, postonly: true, domain: a.b}"}
	app := []string{"{cookie-name: S}", "{cookie-name: S, mode: path-parameters, request-learn: true}", "{cookie-name: S, mode: query-string, length: 1, holdtime: 1s}", "{cookie-name: S.a, prefix: true, request-learn: true, length: 256, holdtime: 168h}"}
	source := []string{"{}", "{tablesize: 1k, expire: 1s}", "{tablesize: 1m, expire: 168h}"}
	var docs []string
	for _, protocol := range []string{"tcp", "tcp-proxy", "http", "ssl", "udp"} {
		for _, algorithm := range []string{"roundrobin", "leastconn", "source"} {
			for method, params := range map[string][]string{"": {""}, "LbCookie": cookie, "AppCookie": app, "SourceBased": source} {
				for _, p := range params {
					for _, check := range []string{"", "{}", "{interval: 500ms, timeout: 500ms, healthyThreshold: 50, unhealthyThreshold: 50}", "{path: /a}"} {
						docs = append(docs, balancerDoc(protocol, algorithm, method, p, check))
					}
				}
			}
		}
	}
	tree := strings.Join(docs, "---\n")
	got, n := accepted(t, tree)
	if n < 150 || n == len(docs) {
		t.Errorf("%d of %d are accepted", n, len(docs))
	}
	haproxyTakes(t, got)
}

func balancerDoc(protocol, algorithm, method, params, check string) string {
	s := fmt.Sprintf("publicIP: vip, port: PORT, protocol: %s, algorithm: %s, members: [{vm: web-1}]", protocol, algorithm)
	if method != "" {
		s += ", stickiness: {method: " + method + ", params: " + params + "}"
	}
	if check != "" {
		s += ", healthCheck: " + check
	}
	if protocol == "ssl" {
		s += `, tls: {certificate: CERT, key: {secretFile: /etc/weft/key}}`
	}
	return "apiVersion: weft.dev/v1alpha1\nkind: LoadBalancer\nmetadata: {name: lb-PORT, account: acme}\nspec: {" + s + "}\n"
}

// accepted compiles the balancers of tree that the language takes.
func accepted(t *testing.T, tree string) (*resource.Intent, int) {
	t.Helper()
	all, err := os.ReadFile("testdata/balancers.txtar")
	if err != nil {
		t.Fatal(err)
	}
	ground := string(txtar.Parse(all).Files[0].Data)
	ground = ground[:strings.Index(ground, "---\napiVersion: weft.dev/v1alpha1\nkind: LoadBalancer")]
	files := []txtar.File{{Name: "ground.yaml", Data: []byte(ground)}}
	quoted := fmt.Sprintf("%q", pair(t)[:strings.Index(string(pair(t)), "-----BEGIN PRIVATE")])
	n := 0
	for i, doc := range strings.Split(tree, "---\n") {
		text := strings.NewReplacer("PORT", fmt.Sprint(1000+i), "CERT", quoted).Replace(doc)
		name := fmt.Sprint(i, ".yaml")
		if _, ds := schema.Parse(fstest.MapFS{name: &fstest.MapFile{Data: []byte(text)}}, nil); ds.HasErrors() {
			continue
		}
		n++
		files = append(files, txtar.File{Name: name, Data: []byte(text)})
	}
	res, ds := plugintest.Compile(t, registry, files)
	if ds.HasErrors() {
		t.Fatal(ds[0].String())
	}
	return res.Intent(res.Hosts()[0]), n
}
