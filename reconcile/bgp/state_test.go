package bgp

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"weft.dev/reconcile/status"
)

// What bgpd of FRR 8.4 says of a neighbour that is there, one that went, and one that never came.
const neighbors = `{
  "203.0.113.1":{"remoteAs":65500,"bgpState":"Established","bgpTimerUpEstablishedEpoch":1795271321,
    "addressFamilyInfo":{"ipv4Unicast":{"acceptedPrefixCounter":0,"sentPrefixCounter":1},"ipv6Unicast":{"sentPrefixCounter":2}},
    "connectionsEstablished":2,"connectionsDropped":1,"lastResetTimerMsecs":4000,
    "lastNotificationReason":"Cease\/Administrative Reset","lastResetDueTo":"BGP Notification received","lastResetCode":13},
  "203.0.113.2":{"remoteAs":65501,"bgpState":"Active","bgpStateIs":"passiveNSF","connectionsEstablished":1,
    "lastResetTimerMsecs":48000,"lastResetDueTo":"NSF peer closed the session"},
  "2001:db8:1::1":{"remoteAs":4200000000,"bgpState":"Idle","nextStartTimerDueInMsecs":16000,"connectionsEstablished":0,"lastResetTimerMsecs":4000,"lastResetDueTo":"Something new"}
}`

func TestSessionOf(t *testing.T) {
	now := time.Unix(1795271400, 0).UTC()
	for peer, want := range map[string]status.BGP{
		"203.0.113.1": {
			State: "Established", ASN: 65500, Since: time.Unix(1795271321, 0).UTC(), Told: 3, Sessions: 2,
			Reset: "the peer ended it (Cease/Administrative Reset)", Ended: now.Add(-4 * time.Second),
		},
		"203.0.113.2":   {State: "Active", ASN: 65501, Sessions: 1, Reset: "the peer closed the connection", Ended: now.Add(-48 * time.Second)},
		"2001:db8:1::1": {State: "Idle", ASN: 4200000000, Reset: "Something new"},
	} {
		want.Address = peer
		got, err := session(neighbors, netip.MustParseAddr(peer), now)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got  %+v, %v\nwant %+v", peer, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"bgpNoSuchNeighbor":true}`:          "bgpd has no peer 203.0.113.1",
		``:                                    "bgpd says what is not JSON: unexpected end of JSON input",
		`{"203.0.113.1":{"remoteAs":"many"}}`: "bgpd says of 203.0.113.1 what cannot be read: json: cannot unmarshal string into Go struct field neighbor.remoteAs of type uint32",
	} {
		if _, err := session(text, netip.MustParseAddr("203.0.113.1"), now); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if got := waiting(neighbors); len(got) != 2 || got[0].String() != "203.0.113.2" || got[1].String() != "2001:db8:1::1" {
		t.Errorf("these are not called soon: %v", got)
	}
}
