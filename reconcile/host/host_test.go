package host

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestLastLine(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"Error occurred at line: 2\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.\n": "Error occurred at line: 2",
		"one\n\ntwo\n": "two",
	} {
		if got := lastLine(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestAlias(t *testing.T) {
	a, b := New("x", ""), New("x", "weft-a")
	alias, err := a.Alias("network/acme/web")
	if err != nil {
		t.Fatal(err)
	}
	if owner, ok := a.OwnerOf(alias); !ok || owner != "network/acme/web" {
		t.Errorf("owner of %q is %q", alias, owner)
	}
	if _, ok := b.OwnerOf(alias); ok {
		t.Error("another instance takes the alias for its own")
	}
	if instance, owner, ok := ReadAlias(must(b.Alias("host/x"))); instance != "weft-a" || owner != "host/x" || !ok {
		t.Errorf("instance %q, owner %q, %v", instance, owner, ok)
	}
	for _, foreign := range []string{"", "weft", "weft/", "weft/a", "libvirt/weft/x"} {
		if instance, owner, ok := ReadAlias(foreign); ok {
			t.Errorf("%q is taken for a mark of %q for %q", foreign, instance, owner)
		}
	}
	if _, err := a.Alias(string(make([]byte, 300))); err == nil {
		t.Error("an alias that is too long is made")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestStamp(t *testing.T) {
	h := New("x", "")
	h.RunDir = t.TempDir()
	m := h.Marks("m")
	if m.Stamp("k") != 0 {
		t.Error("nothing has a stamp")
	}
	seen := map[uint64]bool{0: true}
	for i := range 50 {
		if err := m.Put("k", i%2); err != nil {
			t.Fatal(err)
		}
		s := m.Stamp("k")
		if seen[s] {
			t.Fatalf("stamp %d was seen before", s)
		}
		if seen[s] = true; m.Stamp("k") != s {
			t.Fatal("the stamp changes by itself")
		}
	}
}

// TestMarks looks at marks as a fresh process does.
func TestMarks(t *testing.T) {
	h := New("x", "")
	h.RunDir = t.TempDir()
	if keys := h.Marks("m").Keys(); len(keys) > 0 {
		t.Errorf("before anything is stored: %v", keys)
	}
	for _, key := range []string{"b", "a.1"} {
		if err := h.Marks("m").Put(key, key+"!"); err != nil {
			t.Fatal(err)
		}
	}
	var got string
	if !h.Marks("m").Load("b", &got) || got != "b!" {
		t.Errorf("loaded %q", got)
	}
	if h.Marks("other").Load("b", &got) {
		t.Error("two places share a mark")
	}
	if err := errors.Join(h.Marks("m").Drop("b"), h.Marks("m").Drop("b")); err != nil {
		t.Error(err)
	}
	if keys := h.Marks("m").Keys(); !slices.Equal(keys, []string{"a.1"}) || h.Marks("m").Load("b", &got) {
		t.Errorf("left are %v", keys)
	}
	for _, key := range []string{"", ".", "..", ".a", "../x", "a/b", "/x", "a\x00b"} {
		if err := h.Marks("m").Put(key, 1); err == nil {
			t.Errorf("%q is stored", key)
		}
	}
}

// TestRun: what a person needs to repeat a command that failed, and no waiting for what it left behind.
func TestRun(t *testing.T) {
	h := New("x", "")
	out, err := h.Run(t.Context(), "", []byte("in"), "sh", "-c", "cat; echo first >&2; echo 'last' >&2; echo 'Try `x'; exit 3")
	var failed *CommandError
	if !errors.As(err, &failed) || failed.Code != 3 || failed.Stderr != "last" || failed.Log != "first\nlast\n" || string(out) != "inTry `x\n" {
		t.Errorf("%q, %+v", out, err)
	}
	if !strings.HasSuffix(err.Error(), ": exit 3: last") {
		t.Errorf("the error says %q", err)
	}
	begin := time.Now()
	if out, err = h.Run(t.Context(), "", nil, "sh", "-c", "sleep 30 & echo $!"); err != nil || time.Since(begin) > 20*time.Second {
		t.Errorf("with a daemon left behind: %q, %v after %v", out, err, time.Since(begin))
	}
	if _, err := h.Run(t.Context(), "", nil, "kill", strings.TrimSpace(string(out))); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Run(ctx, "", nil, "sh", "-c", "sleep 30"); err == nil {
		t.Error("a command ran after its context ended")
	}
	if _, err := h.Run(t.Context(), "", nil, "no-such-program"); err == nil {
		t.Error("a program that is not there ran")
	}
	if _, err := h.Run(t.Context(), "no-such-namespace", nil, "true"); err == nil || !strings.Contains(err.Error(), "true in namespace no-such-namespace: ") {
		t.Errorf("in a namespace that is not there: %v", err)
	}
}

func TestEach(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		var now, most, sum atomic.Int64
		items := make([]int, n)
		Each(4, items, func(i int, _ int) {
			if k := now.Add(1); k > most.Load() {
				most.Store(k)
			}
			sum.Add(int64(i))
			now.Add(-1)
		})
		if int(sum.Load()) != n*(n-1)/2 || most.Load() > 4 {
			t.Errorf("%d items: sum %d, %d at a time", n, sum.Load(), most.Load())
		}
	}
}

func FuzzAttrs(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0x80, 1, 2, 3, 4, 5, 0, 2, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		for typ, v := range Attrs(b) {
			if typ > 0x3fff || len(v) > len(b) {
				t.Errorf("attribute %d of %d bytes", typ, len(v))
			}
		}
	})
}

func TestAttrs(t *testing.T) {
	b := []byte{5, 0, 1, 0x80, 7, 0, 0, 0, 4, 0, 2, 0}
	binary.NativeEndian.PutUint16(b, 5)
	var types []uint16
	for typ := range Attrs(b) {
		types = append(types, typ)
	}
	if !slices.Equal(types, []uint16{1, 2}) {
		t.Errorf("types are %v", types)
	}
}
