package resource

import (
	"strconv"
	"strings"
)

// A Record is all that an external DNS server has of one type at one name.
type Record struct {
	Server Server `json:"server"`
	// Zone of the server and Name in it: lower case, without the dot at the end.
	Zone string `json:"zone"`
	Name string `json:"name"`
	Type string `json:"type"` // A | AAAA | PTR
	// Values are addresses, or names without the dot at the end; sorted. None: only the
	// mark of a record that somebody took away.
	Values []string `json:"values,omitempty"`
	TTL    uint32   `json:"ttl"` // seconds
	// With is the address that the primary of two routers has: only it tells. The other
	// one's host takes the record for what it should be. nil: there is one router.
	With *ID `json:"with,omitempty"`
}

// A Server is an external DNS server that takes updates (RFC 2136).
type Server struct {
	Endpoint string `json:"endpoint"` // "udp:10.0.0.53:53" or "tcp:ns.example.org:53"
	// Key names the TSIG key, Algorithm is such as "hmac-sha256" and Secret the file
	// on the host with the key in base64; "" without a key.
	Key       string `json:"key,omitempty"`
	Algorithm string `json:"algorithm,omitempty"`
	Secret    string `json:"secret,omitempty"`
	// Resolvers, with spaces between, know the endpoint where it is a name.
	Resolvers string `json:"resolvers,omitempty"`
}

// Outside reports whether resources of a kind are at another machine than the host, which
// may be gone while the host is well.
func (k Kind) Outside() bool { return k == KindRecord }

// ID implements State.
func (r Record) ID() ID {
	return ID{KindRecord, strings.Join([]string{r.Server.Endpoint, r.Zone, r.Name, r.Type}, "/")}
}

// Needs implements State.
func (r Record) Needs() []ID { return nil }

// Claims implements Claimant: a name has one set of records of a type, whichever way
// and by whichever of its zones the server is told.
func (r Record) Claims() []string {
	_, server, _ := strings.Cut(r.Server.Endpoint, ":")
	return []string{"dns " + server + " " + r.Name + " " + r.Type}
}

// Fingerprint implements State.
func (r Record) Fingerprint() uint64 {
	s := r.Server
	return newHash(string(KindRecord)).str(s.Endpoint).str(s.Key).str(s.Algorithm).str(s.Secret).str(s.Resolvers).
		str(r.Zone).str(r.Name).str(r.Type).strs(r.Values).num(uint64(r.TTL)).opt(withName(r.With)).sum()
}

// Fields implements State.
func (r Record) Fields() []Field {
	key := ""
	if r.Server.Key != "" {
		key = r.Server.Key + " (" + r.Server.Algorithm + ") in " + r.Server.Secret
	}
	return append([]Field{
		{Name: "values", Value: strings.Join(r.Values, " ")},
		{Name: "ttl", Value: strconv.FormatUint(uint64(r.TTL), 10)},
		{Name: "key", Value: key},
		{Name: "resolvers", Value: r.Server.Resolvers},
	}, withField(r.With)...)
}
