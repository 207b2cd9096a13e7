//go:build e2e

package main

import (
	"fmt"
	"regexp"
	"strings"
)

// balancedByAppCookie: who was given a cookie by a member goes there, also after
// HAProxy read other configurations, as fast as they come; none of them is missed.
func (c *cloud) balancedByAppCookie() {
	jar := c.sessions()
	c.until(soon, "who has a cookie goes where it is from", func() string { return c.strayed(jar) })
	was := 3
	for _, now := range []int{5, 7, 4, 9} {
		c.weigh(was, now)
		was = now
	}
	c.until(slow, "the last weight counts", func() string {
		if seen := c.calls(20, "internet", vip+":25"); seen["web-1"] != 18 || seen["web-2"] != 2 {
			return fmt.Sprint(seen)
		}
		return ""
	})
	c.until(soon, "the new process knows whose a cookie is", func() string { return c.strayed(jar) })
	c.weigh(was, 3)
	c.well()
}

// weigh gives web-1 another weight where it had 3.
func (c *cloud) weigh(was, now int) {
	c.Helper()
	c.edit("cloud.yaml", fmt.Sprintf("[{vm: web-1, weight: %d}, {vm: web-2}]", was), fmt.Sprintf("[{vm: web-1, weight: %d}, {vm: web-2}]", now))
	c.commit()
}

// sessions are cookies that members gave, with whose they are.
func (c *cloud) sessions() map[string]string {
	c.Helper()
	jar := map[string]string{}
	for range 3 {
		out := c.fetched("internet", "-D", "-", vip+":8000/login")
		value := regexp.MustCompile(`(?i)set-cookie: SESSION=(\S+);`).FindStringSubmatch(out)
		if value == nil {
			c.Fatalf("no cookie: %q", out)
		}
		jar[value[1]] = firstWord(out[strings.Index(out, "\r\n\r\n")+4:])
	}
	return jar
}

// strayed says which cookie leads to another member than it is from, or "".
func (c *cloud) strayed(jar map[string]string) string {
	c.Helper()
	for value, member := range jar {
		if seen := c.calls(4, "internet", "-b", "SESSION="+value, vip+":8000"); seen[member] != 4 {
			return fmt.Sprintf("%s is that of %s: %v", value, member, seen)
		}
		if seen := c.calls(2, "internet", vip+":8000/a;SESSION="+value); seen[member] != 2 {
			return fmt.Sprintf("%s is that of %s, in the URL: %v", value, member, seen)
		}
	}
	return ""
}
