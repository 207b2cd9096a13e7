package lab

import (
	"os/exec"
	"strings"
	"testing"

	"weft.dev/reconcile/lab/libvirt"
)

func TestSpecOfRealMachine(t *testing.T) {
	real := strings.Replace(cloud, "metadata: {name: two, account: acme}", "metadata: {name: two, account: acme, annotations: {weft.dev/lab-runtime: qemu}}", 1)
	s := deriveFrom(t, real, Spec{})
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	anywhere, two := s.VMs[0], s.VMs[1]
	if anywhere.Runtime != "" || anywhere.NICs[0].Element != nil {
		t.Errorf("a guest in a namespace: %+v", anywhere)
	}
	if two.Runtime != Qemu {
		t.Fatalf("a real machine: %+v", two)
	}
	for i, want := range []libvirt.Interface{
		{MAC: "02:00:00:00:00:0b", Target: "tap-two", MTU: 1500, Plain: true},
		{MAC: "02:00:00:00:00:0c", Bridge: "weft-int", OpenVSwitch: true, MTU: 1500, Plain: true},
	} {
		if got := *two.NICs[i].Element; got != want {
			t.Errorf("nic %d is plugged as %+v, want %+v", i, got, want)
		}
	}
}

func TestCheckRealMachine(t *testing.T) {
	for want, spoil := range map[string]func(*VM){
		`no runtime "xen"`:             func(v *VM) { v.Runtime = "xen" },
		"is plugged into Open vSwitch": func(v *VM) { v.Runtime = Qemu },
		"begin with vnet":              func(v *VM) { v.Runtime, v.NICs[0].Element = Qemu, &libvirt.Interface{Target: "vnet3"} },
	} {
		s := small()
		spoil(&s.VMs[0])
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestMissingQemu: what a machine lacks is said for the guest that wants it, and
// only where one does.
func TestMissingQemu(t *testing.T) {
	none := func(string) (string, error) { return "", exec.ErrNotFound }
	s := small()
	if err := s.missing(none); err != nil {
		t.Errorf("guests in namespaces lack %v", err)
	}
	s.VMs[0].Runtime = Qemu
	err := s.missing(none)
	for _, want := range []string{
		"VM acme/web wants the qemu runtime; qemu-system-x86_64 is not installed (apt install ",
		"VM acme/web wants the qemu runtime; virsh is not installed",
		"VM acme/web wants the qemu runtime; libvirtd is not installed",
		"VM acme/web wants the qemu runtime; busybox is not installed",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
