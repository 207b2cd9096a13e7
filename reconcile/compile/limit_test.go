package compile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weft.dev/reconcile/alloc"
	"weft.dev/reconcile/compile/cloudgen"
	"weft.dev/schema"
)

// dedicatedCloud has eight networks on one fabric, all of account acc0, whose
// spec is given; acc1 has spec other.
func dedicatedCloud(spec, other string) map[string]string {
	size := cloudgen.Size{Accounts: 2, Networks: 1, NICs: 1}
	files := cloudgen.Files(size)
	files["tenants/acc0/account.yaml"] = strings.Replace(files["tenants/acc0/account.yaml"], "spec: {}", "spec: "+spec, 1)
	files["tenants/acc1/account.yaml"] = strings.Replace(files["tenants/acc1/account.yaml"], "spec: {}", "spec: "+other, 1)
	delete(files, cloudgen.NetworkFile(size, 0))
	for i := range 8 {
		files[fmt.Sprintf("tenants/net%d.yaml", i)] = fmt.Sprintf("apiVersion: weft.dev/v1alpha1\nkind: Network\nmetadata: {name: net%d, account: acc0}\n"+
			"spec: {offering: DefaultIsolatedNetworkOfferingWithSourceNatService, physicalNetwork: z0-vxlan}\n", i)
	}
	return files
}

func vnis(lock *alloc.Lock) []int {
	var out []int
	for _, e := range lock.Entries() {
		if e.Field == "vnet" {
			n, _ := strconv.Atoi(e.Value)
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// TestDedicatedFirst: the dedicated numbers are used up before the common ones,
// and without fallback nothing else is given.
func TestDedicatedFirst(t *testing.T) {
	files := dedicatedCloud(`{vnets: {z0-vxlan: ["10500-10504"]}}`, "{}")
	lock := lockFor(t, parse(files, nil), nil)
	got := vnis(lock)
	inside := 0
	for _, n := range got {
		if 10500 <= n && n <= 10504 {
			inside++
		}
	}
	if inside != 5 || len(got) != 8 {
		t.Errorf("%d of %v are dedicated, want all 5", inside, got)
	}
	files = dedicatedCloud(`{vnets: {z0-vxlan: ["10500-10504"]}, vnetsFallback: false}`, "{}")
	r := New(fakes()).Update(parse(files, nil), nil, nil)
	_, _, ds := alloc.Allocate(r.Demands(), nil, alloc.Options{})
	if len(ds) != 3 || ds[0].Message != "no free VNI in z0-vxlan dedicated to account acc0 (5 of 5 used)" {
		t.Errorf("got %v, want three networks without a number", ds)
	}
}

// TestDedicationMovesNothing: entries stay while their pool has them; one that is
// dedicated away is an error that names its owner and the account, and moves only
// when asked.
func TestDedicationMovesNothing(t *testing.T) {
	lock := lockFor(t, parse(dedicatedCloud("{}", "{}"), nil), nil)
	was := vnis(lock)
	common := dedicatedCloud(`{vnets: {z0-vxlan: ["29990-29999"]}}`, "{}")
	if now := lockFor(t, parse(common, nil), lock); !slices.Equal(vnis(now), was) {
		t.Errorf("numbers moved from %v to %v because others were dedicated", was, vnis(now))
	}
	away := dedicatedCloud("{}", fmt.Sprintf(`{vnets: {z0-vxlan: [%d]}}`, was[3]))
	r := New(fakes()).Update(parse(away, nil), lock, nil)
	next, _, ds := alloc.Allocate(r.Demands(), lock, alloc.Options{})
	if len(ds) != 1 || ds[0].Code != "outside-pool" || !strings.HasSuffix(ds[0].Message, "it is dedicated to account acc1") {
		t.Fatalf("got %v, want one entry outside its pool", ds)
	}
	if !slices.Equal(vnis(next), was) {
		t.Errorf("numbers moved unasked: %v to %v", was, vnis(next))
	}
	if len(r.Holds()) != 1 {
		t.Errorf("%d networks are held, want the one", len(r.Holds()))
	}
	owner := ds[0].Hint[strings.LastIndexByte(ds[0].Hint, ' ')+1:]
	next, report, ds := alloc.Allocate(r.Demands(), lock, alloc.Options{Reallocate: []string{owner}})
	if len(ds) > 0 || slices.Contains(vnis(next), was[3]) {
		t.Errorf("after --reallocate %s: %v, %v", owner, vnis(next), ds)
	}
	for _, c := range report.Changed {
		if c.Owner != owner {
			t.Errorf("%s moved too", c.Owner)
		}
	}
}

// TestDedicatedPublic: addresses come from the range of the account first.
func TestDedicatedPublic(t *testing.T) {
	files := dedicatedCloud("{}", "{}")
	files["infra/own.yaml"] = "apiVersion: weft.dev/v1alpha1\nkind: PublicIPRange\nmetadata: {name: own}\n" +
		"spec: {vlan: 60, cidr: 192.0.2.0/24, gateway: 192.0.2.1, ranges: [\"192.0.2.10-192.0.2.14\"], account: acc0}\n"
	lock := lockFor(t, parse(files, nil), nil)
	own := 0
	for _, e := range lock.Entries() {
		if strings.HasPrefix(e.Value, "192.0.2.") {
			own++
		}
	}
	if own != 5 {
		t.Errorf("%d addresses of the own range are used, want 5", own)
	}
}

// TestCapacityFollows: what is counted as used is given back when a network goes,
// and counted once when one is compiled again.
func TestCapacityFollows(t *testing.T) {
	files := dedicatedCloud("{}", "{}")
	for name, text := range files {
		head, rest, ok := strings.Cut(text, "name: z0-vxlan")
		if at := strings.Index(rest, "vnets: ["); ok && at >= 0 {
			end := at + strings.Index(rest[at:], "]")
			files[name] = head + "name: z0-vxlan" + rest[:at] + `vnets: ["10000-10009"` + rest[end:]
		}
	}
	var cache schema.Cache
	c := New(fakes())
	lock := lockFor(t, parse(files, &cache), nil)
	const last = "tenants/net7.yaml"
	text := files[last]
	for _, step := range []struct {
		text string
		want bool
	}{{text, true}, {text + "# again\n", true}, {"", false}, {text, true}, {"", false}} {
		files[last] = step.text
		got := false
		for _, d := range c.Update(parse(files, &cache), lock, nil).Diags {
			got = got || d.Message == "8 of 10 vnets of z0-vxlan are used (80 %)"
		}
		if got != step.want {
			t.Errorf("with %q the warning is there: %t, want %t", step.text, got, step.want)
		}
	}
}
