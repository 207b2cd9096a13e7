package engine

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weft.dev/reconcile/model"
	"weft.dev/reconcile/resource"
)

// seal is a digester that, as the one of files does, changes what it is given
// again when it is given that again.
type seal struct{ *fake }

func (seal) Digest(in *resource.Intent) *resource.Intent {
	out := *in
	out.Fragments = nil
	for _, f := range in.Fragments {
		entries := slices.Clone(f.Entries())
		for i, e := range entries {
			if p, ok := e.State.(resource.Process); ok {
				p.Load = resource.Digest(p.Name, string(rune(p.Load%1000+'a')))
				entries[i].State = p
			}
		}
		out.Fragments = append(out.Fragments, resource.NewFragment(f.Owner, entries))
	}
	return &out
}

// What somebody agreed to is what is carried out, with secrets and with networks
// that are kept though no document asks for them.
func TestPlanIsWhatIsCarriedOut(t *testing.T) {
	w := newWorld(t)
	in := intent(network("a", 1), network("b", 1))
	in.Terms = []resource.Term{{Owner: owner("b"), Keep: true}}
	w.converge(w.engine(), in)
	next := intent(network("a", 2))
	e := w.engine()
	e.drivers[1] = seal{w.files}
	p, err := e.Plan(context.Background(), next, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range p.Actions {
		if a.Owner() == owner("b") {
			t.Errorf("the plan touches what is kept: %s %s", a.Verb, a.ID)
		}
	}
	if r := w.reconcile(e, next, Options{Expect: p.Digest}); !r.Converged() {
		t.Errorf("%+v", r)
	}
	if _, ok := w.kernel.has[resource.ID{Kind: resource.KindNS, Name: "b"}]; !ok {
		t.Error("what is kept is gone")
	}
	// What is stored knows no digests: they are this process' alone.
	if got := e.Verified().Intent.Fragment(owner("a")); got.Print != next.Fragment(owner("a")).Print {
		t.Error("the prepared intent was stored")
	}
}

// An engine goes on from what another process verified meanwhile.
func TestAnotherProcessVerified(t *testing.T) {
	w := newWorld(t)
	one, two := w.engine(), w.engine()
	first, second := intent(network("a", 1)), intent(network("a", 2))
	w.reconcile(one, first, Options{Revision: "r1"})
	w.reconcile(two, second, Options{Revision: "by hand"})
	w.reconcile(one, first, Options{Revision: "r1"})
	if got := w.engine().Verified(); got.Revision != "r1" || got.Intent.Fingerprint() != first.Fingerprint() {
		t.Errorf("the host is as r1 says, and stored is %s", got.Revision)
	}
}

func TestAside(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	first, second := intent(network("a", 1)), intent(network("a", 2))
	w.reconcile(e, first, Options{Revision: "r1"})
	aside := filepath.Join(t.TempDir(), "next.json")
	w.reconcile(e, second, Options{Revision: "r2", Aside: aside})
	w.has(second)
	for _, x := range []*Engine{e, w.engine()} {
		if got := x.Verified(); got.Revision != "r1" || got.Intent.Fingerprint() != first.Fingerprint() {
			t.Errorf("the last good intent is %s", got.Revision)
		}
	}
	got, err := ReadStored(aside)
	if err != nil || got.Revision != "r2" || got.Intent.Fingerprint() != second.Fingerprint() {
		t.Errorf("aside: %+v, %v", got, err)
	}
}

func TestClosed(t *testing.T) {
	w := newWorld(t)
	no := errors.New("a change waits")
	w.settings.Closed = func(trial string) error {
		if trial == "t1" {
			return nil
		}
		return no
	}
	e, in := w.engine(), intent(network("a", 1))
	if _, err := e.Reconcile(context.Background(), in, Options{}); !errors.Is(err, no) || len(w.kernel.log) > 0 {
		t.Errorf("got %v, done %v", err, w.kernel.log)
	}
	w.reconcile(e, in, Options{Dry: true})
	if r := w.reconcile(e, in, Options{Trial: "t1"}); !r.Converged() {
		t.Errorf("%+v", r)
	}
}

func TestLastGood(t *testing.T) {
	w := newWorld(t)
	a, b := network("a", 1), network("b", 1)
	look := func(e *Engine, in *resource.Intent) *Engine {
		if _, err := e.Plan(context.Background(), in, Options{}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	// Before the first apply it is a host without anything.
	s, err := look(w.engine(), intent(a)).LastGood(intent(a))
	if err != nil || s.Intent == nil || s.Intent.Len() != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	w.converge(w.engine(), intent(a, b))
	held := resource.NewIntent("kvm1", []*resource.Fragment{a}, []resource.Hold{{Owner: owner("b"), Cause: resource.HoldInvalid, Reason: "b.yaml:3"}})
	w.reconcile(w.engine(), held, Options{})
	// What the change does not leave alone has to come back.
	e := look(w.engine(), intent(a))
	if s, err = e.LastGood(intent(a)); err != nil || len(s.Intent.Holds) != 0 || s.Intent.Fragment(owner("b")) == nil {
		t.Errorf("%+v, %v", s.Intent, err)
	}
	// What it leaves alone is left alone on the way back.
	if s, err = e.LastGood(held); err != nil || len(s.Intent.Holds) != 1 {
		t.Errorf("%+v, %v", s.Intent, err)
	}
	if len(e.Verified().Intent.Holds) != 1 {
		t.Error("the stored intent was changed")
	}
	// Nobody knows how a host was whose state directory is lost.
	w.host.StateDir = t.TempDir()
	if s, err := look(w.engine(), intent(a)).LastGood(intent(a)); err == nil {
		t.Errorf("got %+v", s)
	}
}

func TestReadStored(t *testing.T) {
	w := newWorld(t)
	in := intent(network("a", 1))
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "intent.json")
	for content, want := range map[string]string{
		string(b): "",
		strings.Replace(string(b), `"formatVersion":1`, `"formatVersion":9`, 1): "newer",
		`{"formatVersion":9,"intent":` + string(b) + `}`:                        "newer",
		`{"formatVersion":1}x`: "is no intent",
		`{}`:                   "formatVersion is missing",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadStored(path)
		switch {
		case want == "" && (err != nil || got.Intent.Fingerprint() != in.Fingerprint()):
			t.Errorf("%.40s: %v", content, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)):
			t.Errorf("%.40s: got %v, want %s", content, err, want)
		}
	}
	w.host.StateDir = t.TempDir()
	if _, err := ReadStored(StoredPath(w.host)); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestSnapshot(t *testing.T) {
	w := newWorld(t)
	e, in := w.engine(), intent(network("a", 1))
	w.reconcile(e, in, Options{Revision: "r1"})
	s, err := w.engine().Snapshot(context.Background(), model.Facts{Instance: "weft", Datapath: "netdev", IPTables: "nft"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	got := new(Snapshot)
	if err := json.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	if got.Host != "kvm1" || !got.Time.Equal(w.now) || got.Facts != s.Facts || got.Verified.Revision != "r1" ||
		got.Verified.Intent.Fingerprint() != in.Fingerprint() || !reflect.DeepEqual(got.Observed.Set.IDs(), in.Set().IDs()) {
		t.Errorf("%+v", got)
	}
	for old, with := range map[string][2]string{
		`{"formatVersion":1,"host"`:        {`{"formatVersion":2,"host"`, "newer"},
		`{"formatVersion":1,"host":"kvm1"`: {`{"formatVersion":1`, "host is missing"},
		`"host":"kvm1","time"`:             {`"host":"kvm2","time"`, "verified intent is that of kvm1"},
		`"observed":`:                      {`"observd":`, "observed is missing"},
	} {
		if !strings.Contains(string(b), old) {
			t.Fatalf("no %s in %.200s", old, b)
		}
		if err := json.Unmarshal([]byte(strings.Replace(string(b), old, with[0], 1)), got); err == nil || !strings.Contains(err.Error(), with[1]) {
			t.Errorf("%s: got %v, want %s", with[0], err, with[1])
		}
	}
}
