// Package lab is a cloud in network namespaces: hosts with a switch and an agent each, wires between them, guests and the
// internet, all on one machine and gone without a trace afterwards.
//
// In comes a Spec, which says what hardware and guests there are; out come running nodes and their Status. A lab is one
// supervisor process, PID 1 of a pid namespace (in a user namespace without root), and one PID 1 per node below it
// (reconcile/lab/node), so the death of a process is the end of everything below it. Wires are Linux bridges in the
// supervisor's network namespace, switches by MAC alone. Nothing is in the machine's namespaces but the supervisor's
// process, its state directory and one listener on loopback. Only cmd/weft imports it; it imports no plugin.
//
// The internet owns the gateways of the public ranges and the addresses of Spec.World and Spec.DNS, forwards between all of
// them, answers HTTP on ports 80 and 443 with nothing but the client's address, and on the addresses of Spec.DNS resolves
// internet, example.com and example.org. Any other name does not exist there.
//
// A guest's ports are plugged by the lab as libvirt does, into weft-int once that is there, unless its NIC names an
// interface: then the port waits on the host for weft to plug it. A host takes its guests down with it; on its disk (the
// lab's state) are /var/lib/weft and the switch's database, nothing else of it outlives a power cut.
package lab

import (
	"os"
	"runtime"
)

// The namespaces of the process as seen from outside are those of its first thread, so that thread must not be used for
// excursions into others. init runs on it, and locked there it runs nothing but main.
func init() { //nolint:gochecknoinits // nothing else runs on the first thread; it registers nothing
	if len(os.Args) > 1 && (os.Args[1] == supervisorVerb || os.Args[1] == nodeVerb) {
		runtime.LockOSThread()
	}
}
