package schema

import "time"

// leastHealthCheck is the shortest time between two checks: each may take seconds.
const leastHealthCheck = time.Second

// zoneRouters checks how often routers are asked how they are; 0s is never.
func (c *checker) zoneRouters(s *ZoneRouters) {
	if s == nil {
		return
	}
	if d := time.Duration(s.HealthCheckInterval); d != 0 && d < leastHealthCheck {
		c.errorf(at("routers", "healthCheckInterval"), "bad-duration", "%s between two health checks is too short", d).
			Hintf("write 1s or more, or 0s for no checks")
	}
}
