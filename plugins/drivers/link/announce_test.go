package link

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/reconcile/host"
)

// The frames are those of arping(8) -U and -A, and of the kernel with ndisc_notify, for
// the same addresses.
func TestAnnouncements(t *testing.T) {
	mac := net.HardwareAddr{0x02, 0, 0, 0, 0, 0x01}
	for _, c := range []struct {
		addr   string
		router bool
		want   []string
	}{
		{"10.1.1.1", true, []string{
			"ffffffffffff" + "020000000001" + "0806" + "0001080006040001" + "020000000001" + "0a010101" + "000000000000" + "0a010101",
			"ffffffffffff" + "020000000001" + "0806" + "0001080006040002" + "020000000001" + "0a010101" + "020000000001" + "0a010101",
		}},
		{"2001:db8::1", false, []string{
			"333300000001" + "020000000001" + "86dd" + "60000000" + "0020" + "3a" + "ff" + "20010db8000000000000000000000001" + "ff020000000000000000000000000001" +
				"8800" + "f92a" + "20000000" + "20010db8000000000000000000000001" + "0201" + "020000000001",
		}},
		{"2001:db8::1", true, []string{
			"333300000001" + "020000000001" + "86dd" + "60000000" + "0020" + "3a" + "ff" + "20010db8000000000000000000000001" + "ff020000000000000000000000000001" +
				"8800" + "792a" + "a0000000" + "20010db8000000000000000000000001" + "0201" + "020000000001",
		}},
	} {
		got := announcements(mac, netip.MustParseAddr(c.addr), c.router)
		if len(got) != len(c.want) {
			t.Fatalf("%s: %d frames", c.addr, len(got))
		}
		for i := range got {
			if hex.EncodeToString(got[i]) != c.want[i] {
				t.Errorf("%s:\n%x\nwant\n%s", c.addr, got[i], c.want[i])
			}
		}
	}
}

// What is to be said again is not waited for any more once whoever watches has ended.
func TestEncoresEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(host.New("kvm1", "wlencore"))
		list := []news{{link: "nowhere"}}
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		d.encore(ctx, list)
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("it was said again for %v", took)
		}
		began = time.Now()
		time.AfterFunc(1500*time.Millisecond, cancel)
		d.encore(ctx, list)
		if took := time.Since(began); took != 1500*time.Millisecond {
			t.Errorf("it ended after %v", took)
		}
	})
}
