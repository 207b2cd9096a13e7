package ovs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	ofctl "github.com/digitalocean/go-openvswitch/ovs"
)

// A bundle is changes of one bridge's flows that happen together or not at all.
type bundle struct {
	// wipe lists cookies all of whose flows go, learned ones too.
	wipe []uint64
	// forget lists cookies whose learned flows go: they lead to ports that are
	// elsewhere now.
	forget []uint64
	// cut and add are of single rules, by cookie. A rule that is there is
	// changed in place by add, and what it has learned stays.
	cut, add map[uint64][]rule
}

func (b *bundle) empty() bool {
	return len(b.wipe) == 0 && len(b.forget) == 0 && len(b.cut) == 0 && len(b.add) == 0
}

// words is text in the place of the package's matches and actions: its types do
// not know all that weft's rules say (metadata, registers in set_field, OpenFlow
// 1.4's names), its transactions take any type that marshals.
type words string

func (w words) MarshalText() ([]byte, error) { return []byte(w), nil }
func (w words) GoString() string             { return strconv.Quote(string(w)) }

// strict in the place of the protocol marks a deletion of exactly one rule. The
// package knows only deletions of all that a match covers; the pipe below turns
// the mark into ovs-ofctl's word.
const strict ofctl.Protocol = "strict"

// send commits a bundle.
func (d *Driver) send(ctx context.Context, bridge string, b *bundle) error {
	var failed error
	pipe := func(stdin io.Reader, cmd string, args ...string) ([]byte, error) {
		text, err := io.ReadAll(stdin)
		if err != nil {
			return nil, err
		}
		text = bytes.ReplaceAll(text, []byte("\ndelete strict,"), []byte("\ndelete_strict "))
		if rest, ok := bytes.CutPrefix(text, []byte("delete strict,")); ok {
			text = append([]byte("delete_strict "), rest...)
		}
		var out []byte
		out, failed = d.host.Run(ctx, "", text, append([]string{cmd}, args...)...)
		return out, failed
	}
	c := ofctl.New(ofctl.Pipe(pipe), ofctl.Timeout(int(settle.Seconds())), ofctl.Protocols([]string{openFlow}))
	err := c.OpenFlow.AddFlowBundle("unix:"+d.socket(bridge), func(tx *ofctl.FlowTransaction) error {
		for _, cookie := range b.wipe {
			tx.Delete(&ofctl.MatchFlow{Cookie: cookie, Table: ofctl.AnyTable})
		}
		for _, cookie := range b.forget {
			tx.Delete(&ofctl.MatchFlow{Cookie: cookie, Table: learnTable})
		}
		for cookie, rules := range b.cut {
			for _, r := range rules {
				matches := []ofctl.Match{words(fmt.Sprintf("priority=%d", r.priority))}
				for _, m := range r.match {
					matches = append(matches, words(m))
				}
				tx.Delete(&ofctl.MatchFlow{Protocol: strict, Cookie: cookie, Table: int(r.table), Matches: matches})
			}
		}
		for cookie, rules := range b.add {
			for _, r := range rules {
				f := &ofctl.Flow{Cookie: cookie, Table: int(r.table), Priority: int(r.priority), Actions: []ofctl.Action{words(r.actions)}}
				for _, m := range r.match {
					f.Matches = append(f.Matches, words(m))
				}
				tx.Add(f)
			}
		}
		return tx.Commit()
	})
	if failed != nil {
		return failed // the package's error repeats it without the command
	}
	return err
}

// printed returns the rules of cookies as the switch prints them, by cookie and
// key, without what was learned.
func (d *Driver) printed(ctx context.Context, bridge string, cookies []uint64) (map[uint64]map[string]rule, error) {
	out := make(map[uint64]map[string]rule, len(cookies))
	for _, c := range cookies {
		out[c] = map[string]rule{}
	}
	value, mask := common(cookies)
	text, err := d.host.Run(ctx, "", nil, "ovs-ofctl", fmt.Sprintf("--timeout=%d", int(settle.Seconds())), "dump-flows",
		"--protocols="+openFlow, "--no-stats", "--no-names", "unix:"+d.socket(bridge), fmt.Sprintf("cookie=%#x/%#x", value, mask))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		cookie, r, ok := parseLine(strings.TrimSpace(line))
		if ok && out[cookie] != nil && r.table != learnTable {
			out[cookie][r.key()] = r
		}
	}
	return out, nil
}

// common is the narrowest value and mask that cover all cookies: of few owners
// it keeps most of the others' flows out.
func common(cookies []uint64) (value, mask uint64) {
	if len(cookies) == 0 {
		return 0, ^uint64(0)
	}
	mask = ^uint64(0)
	for _, c := range cookies {
		mask &^= c ^ cookies[0]
	}
	return cookies[0] & mask, mask
}

// attributes of a flow that are no part of its match, beside those that become
// fields of a rule.
var attributes = []string{"idle_timeout", "hard_timeout", "importance", "send_flow_rem", "check_overlap",
	"reset_counts", "no_packet_counts", "no_byte_counts"}

// parseLine takes a printed flow apart at its commas, as far as naming it needs;
// false for lines that are no flow.
func parseLine(line string) (cookie uint64, r rule, ok bool) {
	head, actions, ok := strings.Cut(line, " actions=")
	if !ok || !strings.HasPrefix(head, "cookie=") {
		return 0, r, false
	}
	const unsaid = 0x8000 // OpenFlow's default priority is not printed
	r = rule{priority: unsaid, actions: actions}
	for token := range strings.SplitSeq(head, ",") {
		token = strings.TrimSpace(token)
		name, value, _ := strings.Cut(token, "=")
		number, err := strconv.ParseUint(value, 0, 64)
		switch {
		case name == "cookie" && err == nil:
			cookie = number
		case name == "table" && err == nil:
			r.table = uint8(number)
		case name == "priority" && err == nil:
			r.priority = uint16(number)
		case token == "" || slices.Contains(attributes, name):
		default:
			r.match = append(r.match, token)
		}
	}
	return cookie, r, true
}
