//go:build e2e

package main

import (
	"encoding/binary"
	"encoding/hex"
)

// unreachable is an ICMP error of the receiver of a UDP frame, with a text.
func unreachable(about []byte, text string) []byte {
	quoted := about[14:42]
	message := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, quoted...)
	if message = append(message, text...); len(message)%2 == 1 {
		message = append(message, '.')
	}
	binary.BigEndian.PutUint16(message[2:], checksum(message))
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0}
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(message)))
	ip = append(append(ip, quoted[16:20]...), quoted[12:16]...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	f := append(append(append([]byte{}, about[6:12]...), about[:6]...), 8, 0)
	return append(append(f, ip...), message...)
}

// related: an ICMP error passes with the connection that it is about, on one host and
// between two, and ends with the rule that allowed that.
func (c *cloud) related() {
	const sql = "ports: 5432, groups: [web]}"
	guests := c.guests()
	db := guests["acme/db"]
	atDB := c.listen(db.name, "eth0")
	sends := func(from string, frame []byte) {
		c.in(from, "weft", "e2e-frame", "eth0", hex.EncodeToString(frame))
	}
	askers := []string{"acme/web-1", "acme/web-2"}
	ears := map[string]*ear{}
	question := func(name, text string) []byte {
		g := guests[name]
		return udp(g.mac, db.mac, g.ip, db.ip, 4711, 5140, text+c.word(name))
	}
	until := func(e *ear, token string, send func()) {
		c.until(soon, e.name+" hears "+token, func() string {
			if e.heard(token) {
				return ""
			}
			send()
			return "silence"
		})
	}
	for _, name := range askers {
		ears[name] = c.listen(name, "eth0")
	}
	c.edit("cloud.yaml", sql, sql+", {name: log, protocol: udp, ports: 5140, groups: [web]}")
	c.commit()
	for _, name := range askers {
		until(atDB, "asked"+c.word(name), func() { sends(name, question(name, "asked")) })
		until(ears[name], "error"+c.word(name), func() { sends(db.name, unreachable(question(name, ""), "error"+c.word(name))) })
	}
	c.edit("cloud.yaml", sql+", {name: log, protocol: udp, ports: 5140, groups: [web]}", sql)
	c.commit()
	for _, name := range askers {
		g := guests[name]
		sends(name, question(name, "late"))
		// What is heard after it was sent after it.
		until(atDB, "then"+c.word(name), func() { sends(name, ending(arp(g.mac, g.ip), "then"+c.word(name))) })
		sends(db.name, unreachable(question(name, ""), "ghost"+c.word(name)))
		until(ears[name], "last"+c.word(name), func() { sends(db.name, ending(arp(db.mac, db.ip), "last"+c.word(name))) })
		if atDB.heard("late" + c.word(name)) {
			c.Errorf("a question of %s passes without the rule that allowed it", name)
		}
		if ears[name].heard("ghost" + c.word(name)) {
			c.Errorf("an error about a connection of %s passes that no rule allows", name)
		}
	}
}
