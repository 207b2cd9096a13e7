package doctor

import (
	"regexp"
	"strconv"
	"strings"
)

// tested is the Open vSwitch that the tests run; those before oldest nobody has tried.
const (
	tested = "3.1"
	oldest = "2.17"
)

// vswitch tells whether Open vSwitch is there, of an age that is known, and answers.
func (x *exam) vswitch() {
	if !x.has("ovs-vswitchd") {
		return
	}
	if v := x.Facts.OVSVersion; v != "" && older(v, oldest) {
		x.tell(Warning, "switch", "install "+oldest+" or later", "Open vSwitch is version %s: weft is tested with %s, and nobody has tried one before %s", v, tested, oldest)
	}
	l := Error
	if x.Share != nil && x.wants[needOVS] == "" {
		l = Note
	}
	if !x.comms["ovs-vswitchd"] {
		x.tell(l, "switch", "systemctl start openvswitch-switch", "ovs-vswitchd does not run: what its database is told is not done")
	}
	if !x.Privileged {
		return
	}
	out, err := x.Run(x.ctx, "", "ovs-vsctl", "--timeout=3", "--db="+x.OVSDB, "list-br")
	if err != nil {
		x.tell(l, "switch", "systemctl start openvswitch-switch", "the database of Open vSwitch at %s does not answer: %s", x.OVSDB, lastly(err))
		return
	}
	x.ovs = map[string]bool{}
	for name := range strings.FieldsSeq(string(out)) {
		x.ovs[name] = true
	}
}

var numbers = regexp.MustCompile(`[0-9]+`)

// older compares versions, number by number.
func older(a, b string) bool {
	as, bs := numbers.FindAllString(a, -1), numbers.FindAllString(b, -1)
	for i := range bs {
		if i >= len(as) {
			return true
		}
		m, _ := strconv.Atoi(as[i]) // digits only
		n, _ := strconv.Atoi(bs[i])
		if m != n {
			return m < n
		}
	}
	return false
}
