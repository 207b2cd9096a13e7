package configdrive

import (
	"testing"

	"weft.dev/plugins/plugintest"
	"weft.dev/reconcile/plugin"
)

func TestCases(t *testing.T) {
	plugintest.Cases(t, plugin.Registry{
		Gurus: []plugin.Guru{plugintest.Silent{}}, Public: plugintest.Silent{}, Elements: []plugin.Element{plugintest.Silent{}, Element{}},
	}, nil)
}
