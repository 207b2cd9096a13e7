// Package securitygroup is the provider of the service SecurityGroup.
//
// What groups let through is decided in the switch, port by port: the guru that
// makes a port writes its rules, of model.Groups. So this element asks for nothing of
// its own. It is pure; plugins registers it.
package securitygroup

import (
	"weft.dev/reconcile/model"
	"weft.dev/reconcile/plugin"
)

// Element is CloudStack's SecurityGroupProvider.
type Element struct{}

// Name implements plugin.Element.
func (Element) Name() string { return "SecurityGroupProvider" }

// Services implements plugin.Element.
func (Element) Services() []string { return []string{"SecurityGroup"} }

// Implement implements plugin.Element.
func (Element) Implement(*model.Network, *plugin.Draft) {}
