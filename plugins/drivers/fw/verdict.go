package fw

import (
	"fmt"
	"net/netip"
	"strconv"

	"weft.dev/reconcile/resource"
	"weft.dev/schema"
)

// verdict renders what the rule does.
func (r *rule) verdict() error {
	v := r.Do
	if (v.Jump == "") == (v.Target == "") {
		return fmt.Errorf("a rule needs either a target or a chain to jump to")
	}
	if v.Target != "DNAT" && v.Target != "SNAT" && (v.To.IsValid() || v.Ports != schema.PortRange{} || v.Base != 0) {
		return fmt.Errorf("%s takes no address and no ports", v)
	}
	if v.Jump != "" {
		if !chainName.MatchString(v.Jump) || builtin(r.chain.Table, v.Jump) {
			return fmt.Errorf("%q is no chain to jump to", v.Jump)
		}
		r.add("-j", v.Jump)
		return nil
	}
	switch v.Target {
	case "ACCEPT", "DROP", "RETURN":
		r.add("-j", v.Target)
	case "REJECT":
		r.add("-j", "REJECT", "--reject-with", r.rejection())
	case "DNAT", "SNAT":
		return r.translate()
	case "CLAMPMSS":
		r.add("-j", "TCPMSS", "--clamp-mss-to-pmtu")
	case "MARK":
		r.add("-j", "MARK", "--set-xmark", fmt.Sprintf("%#x/%#x", v.Mark, maskOf(v)))
	case "SAVEMARK", "RESTOREMARK":
		mask := fmt.Sprintf("%#x", maskOf(v))
		how := map[string]string{"SAVEMARK": "--save-mark", "RESTOREMARK": "--restore-mark"}[v.Target]
		r.add("-j", "CONNMARK", how, "--nfmask", mask, "--ctmask", mask)
	default:
		return fmt.Errorf("%q is no target", v.Target)
	}
	return nil
}

// maskOf are the bits of a mark that v is about.
func maskOf(v resource.Verdict) uint32 {
	if v.Mask == 0 {
		return 0xffffffff
	}
	return v.Mask
}

// rejection is what a rejected sender hears: soon enough to not wait.
func (r *rule) rejection() string {
	switch {
	case r.proto() == 6:
		return "tcp-reset"
	case r.chain.Family == 6:
		return "icmp6-port-unreachable"
	}
	return "icmp-port-unreachable"
}

// translate renders a change of destination or source.
func (r *rule) translate() error {
	v := r.Do
	if r.chain.Table != "nat" {
		return fmt.Errorf("%s outside of table nat", v.Target)
	}
	if !v.To.IsValid() {
		return fmt.Errorf("%s without an address", v.Target)
	}
	if err := r.fits(v.To); err != nil {
		return err
	}
	flag := "--to-source"
	if v.Target == "DNAT" {
		flag = "--to-destination"
	}
	to := v.To.String()
	if v.Ports != (schema.PortRange{}) {
		if p := r.proto(); p != 6 && p != 17 && p != 132 {
			return fmt.Errorf("new ports, but the protocol is %q", r.Match.Proto)
		}
		if v.Ports.From > v.Ports.To || v.Ports.From == 0 {
			return fmt.Errorf("new ports %d-%d are no range", v.Ports.From, v.Ports.To)
		}
		to = netip.AddrPortFrom(v.To, v.Ports.From).String()
		if v.Ports.From != v.Ports.To {
			to += "-" + strconv.Itoa(int(v.Ports.To))
			if v.Base != 0 {
				to += "/" + strconv.Itoa(int(v.Base))
			}
		}
	}
	if err := r.checkBase(); err != nil {
		return err
	}
	r.add("-j", v.Target, flag, to)
	return nil
}

// checkBase makes sure that a range maps one to one: the kernel would wrap what
// does not fit round to its beginning.
func (r *rule) checkBase() error {
	v, m := r.Do, r.Match
	if v.Base == 0 {
		return nil
	}
	if v.Target != "DNAT" || len(m.DstPorts) != 1 || m.DstPorts[0].From != v.Base || m.DstPorts[0].Len() != v.Ports.Len() {
		return fmt.Errorf("ports %s from %d do not map one to one to those matched", v.Ports, v.Base)
	}
	return nil
}
