package pair

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(path+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	h, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for i := range 2 * keep {
		for range 2 { // the second time it is no change
			if err := h.add(Change{begun.Add(time.Duration(i)), []State{Primary, Backup}[i%2]}); err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := Read(path)
	if err != nil || len(list) != keep || list[keep-1].State != Backup || !list[0].Time.Equal(begun.Add(keep)) {
		t.Errorf("%d changes, %v", len(list), err)
	}
	if h, err = open(path); err != nil || len(h.list) != keep {
		t.Errorf("it remembers %d, %v", len(h.list), err)
	}
	if err := h.stopped(begun); err != nil || h.list[keep-1].State != Stopped {
		t.Errorf("after one that was killed: %v, %v", h.list[keep-1], err)
	}
	if err := os.WriteFile(path, []byte(`[{"ti`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("a torn history is read")
	}
	if h, err = open(path); err != nil || len(h.list) != 0 {
		t.Errorf("after a torn one it has %d, %v", len(h.list), err)
	}
	if err := h.stopped(begun); err != nil || len(h.list) != 0 {
		t.Errorf("the first begins with %v, %v", h.list, err)
	}
	if list, err := Read(path + ".none"); err != nil || list != nil {
		t.Errorf("none: %v, %v", list, err)
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]State{
		`INSTANCE "pair" MASTER 200`: Primary, `INSTANCE "pair" BACKUP 100`: Backup, `INSTANCE "pair" FAULT 100`: Fault,
		`INSTANCE "pair" STOP 100`: Stopped, "": Stopped, `GROUP "g" MASTER 1`: "", `INSTANCE "pair"`: "", `INSTANCE "pair" MASTER_RX_LOWER_PRI 1`: "",
	} {
		if got, ok := parse(line); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", line, got, ok)
		}
	}
}

// TestPresence: what cannot be read is as it was, and looked at again.
func TestPresence(t *testing.T) {
	broken := errors.New("interrupted")
	var p presence
	for _, x := range []struct {
		is   bool
		err  error
		want bool
	}{{false, broken, false}, {true, nil, true}, {false, broken, true}, {false, nil, false}, {true, broken, false}} {
		p.look = func() (bool, error) { return x.is, x.err }
		if got := p.now(); got != x.want || (p.again != nil) != (x.err != nil) {
			t.Errorf("%v, %v: it is taken for %v, looked at again: %v", x.is, x.err, got, p.again != nil)
		}
	}
}

func TestMainIsOthers(t *testing.T) {
	for _, args := range [][]string{nil, {"apply"}, {"metadata-serve"}} {
		if _, ours := Main(args); ours {
			t.Errorf("%q", args)
		}
	}
}
