package health

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestBalancers(t *testing.T) {
	const head = "# pxname,svname,qcur,status,weight,\n"
	for _, c := range []struct{ text, words, err string }{
		{head + "web,FRONTEND,,OPEN,,\nweb,a,0,UP,1,\nweb,b,0,DOWN,1,\nweb,BACKEND,0,UP,2,\n", "1 listeners open, 1 of 2 servers up: web/b is DOWN", ""},
		{head + "web,FRONTEND,,STOP,,\n", "", "web is STOP"},
		{head + "web,FRONTEND,,FULL,,\n", "1 listeners open, 0 of 0 servers up", ""},
		{head + "web,FRONTEND,,OPEN,,\n" + strings.Repeat("x", maxReply-len(head)-len("web,FRONTEND,,OPEN,,\n\nweb,FRONTEND,,OP")) + "\nweb,FRONTEND,,OP", "1 listeners open, 0 of 0 servers up", ""},
		{head + "web,a,0,no check,1,\n", "0 listeners open, 1 of 1 servers up", ""},
		{"", "", "cannot be read"},
		{"nonsense\n", "", "no proxies"},
	} {
		words, err := balancers(c.text)
		if words != c.words || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %q, %v", c.text, words, err)
		}
	}
}

func FuzzBalancers(f *testing.F) {
	f.Add("# pxname,svname,status\nweb,FRONTEND,OPEN\n")
	f.Fuzz(func(t *testing.T, text string) { _, _ = balancers(text) })
}

func FuzzOffer(f *testing.F) {
	frame := asked(dhcpDiscover, 7, net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.Addr{}, netip.MustParseAddr("10.1.1.1"))
	f.Add(frame[14:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if kind, a := answerOf(b, 7); kind != 0 && !a.Is4() {
			t.Errorf("answer %d of %v", kind, a)
		}
	})
}

// An offer is one only with our number, and the frame that asks is what it says.
func TestOffer(t *testing.T) {
	server := netip.MustParseAddr("10.1.1.1")
	frame := asked(dhcpDiscover, 0x01020304, net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.Addr{}, server)
	if checksum(frame[14:34]) != 0 || len(frame) != 14+28+300 || !bytes.Equal(frame[42+24:42+28], server.AsSlice()) {
		t.Fatalf("frame % x", frame)
	}
	reply := bytes.Clone(frame[14:])
	reply[28], reply[28+242] = 2, dhcpOffer
	copy(reply[28+16:], []byte{10, 1, 1, 11})
	if kind, a := answerOf(reply, 0x01020304); kind != dhcpOffer || a.String() != "10.1.1.11" {
		t.Errorf("answer %d of %v", kind, a)
	}
	if kind, _ := answerOf(reply, 5); kind != 0 {
		t.Error("somebody else's offer is taken")
	}
	if kind, _ := answerOf(frame[14:], 0x01020304); kind != 0 {
		t.Error("a question is taken for an offer")
	}
}

func TestJudge(t *testing.T) {
	a := netip.MustParseAddr("10.1.1.11")
	m := &dnsmessage.Message{Answers: []dnsmessage.Resource{{Body: &dnsmessage.AResource{A: a.As4()}}}}
	if words, err := judge(m, a); err != nil || words != "answers 10.1.1.11" {
		t.Errorf("%q, %v", words, err)
	}
	if _, err := judge(&dnsmessage.Message{}, a); err == nil {
		t.Error("an answer without the address will do")
	}
	m.RCode = dnsmessage.RCodeServerFailure
	if _, err := judge(m, netip.Addr{}); err == nil || !strings.Contains(err.Error(), "ServerFailure") {
		t.Errorf("a failing server: %v", err)
	}
	if _, err := judge(&dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeNameError}}, netip.Addr{}); err != nil {
		t.Errorf("no such name: %v", err)
	}
}
