package libvirt

import (
	"encoding/xml"
	"regexp"
)

// Domain is a guest of a lab: a machine in software emulation with a kernel and an initial file system, no disk.
type Domain struct {
	Name    string // of libvirt's; any unique text without a slash
	Title   string // shown beside it
	Memory  int    // MiB
	Kernel  string // path
	Initrd  string // path
	Command string // the kernel's command line
	Console string // path of the file that the serial console is written to
	// Channels are virtio serial ports: the name in the guest, and the path of the socket that the emulator listens on.
	Channels   []Channel
	Interfaces []Interface
	Spare      int // ports that NICs can be plugged into later
}

// Channel is a two-way stream between a guest and a socket on its host.
type Channel struct{ Name, Socket string }

// String is the domain as libvirt reads it.
func (d Domain) String() string {
	x := domain{Type: "qemu", Name: d.Name, Title: d.Title, Memory: size{"MiB", d.Memory}, VCPU: 1,
		OnPoweroff: "destroy", OnReboot: "destroy", OnCrash: "destroy"}
	x.OS.Type.Arch, x.OS.Type.Machine, x.OS.Type.Text = "x86_64", "q35", "hvm"
	x.OS.Kernel, x.OS.Initrd, x.OS.Command = d.Kernel, d.Initrd, d.Command
	x.CPU.Mode = "maximum"
	dev := &x.Devices
	dev.Controllers = append(dev.Controllers, controller{Type: "pci", Index: new(int), Model: "pcie-root"})
	for range len(d.Interfaces) + d.Spare + 1 {
		dev.Controllers = append(dev.Controllers, controller{Type: "pci", Model: "pcie-root-port"})
	}
	dev.Controllers = append(dev.Controllers, controller{Type: "usb", Model: "none"}, controller{Type: "virtio-serial"})
	dev.Serial.Type, dev.Serial.Source.Path, dev.Serial.Source.Append = "file", d.Console, "on"
	for _, c := range d.Channels {
		var ch channel
		ch.Type, ch.Source.Mode, ch.Source.Path = "unix", "bind", c.Socket
		ch.Target.Type, ch.Target.Name = "virtio", c.Name
		dev.Channels = append(dev.Channels, ch)
	}
	for _, i := range d.Interfaces {
		dev.Interfaces = append(dev.Interfaces, i.element())
	}
	dev.Balloon.Model = "none"
	return indented(x)
}

type size struct {
	Unit  string `xml:"unit,attr"`
	Value int    `xml:",chardata"`
}

type controller struct {
	Type  string `xml:"type,attr"`
	Index *int   `xml:"index,attr"`
	Model string `xml:"model,attr,omitempty"`
}

type channel struct {
	Type   string `xml:"type,attr"`
	Source struct {
		Mode string `xml:"mode,attr"`
		Path string `xml:"path,attr"`
	} `xml:"source"`
	Target struct {
		Type string `xml:"type,attr"`
		Name string `xml:"name,attr"`
	} `xml:"target"`
}

type domain struct {
	XMLName xml.Name `xml:"domain"`
	Type    string   `xml:"type,attr"`
	Name    string   `xml:"name"`
	Title   string   `xml:"title,omitempty"`
	Memory  size     `xml:"memory"`
	VCPU    int      `xml:"vcpu"`
	OS      struct {
		Type struct {
			Arch    string `xml:"arch,attr"`
			Machine string `xml:"machine,attr"`
			Text    string `xml:",chardata"`
		} `xml:"type"`
		Kernel  string `xml:"kernel"`
		Initrd  string `xml:"initrd"`
		Command string `xml:"cmdline"`
	} `xml:"os"`
	Features struct {
		ACPI struct{} `xml:"acpi"`
	} `xml:"features"`
	CPU struct {
		Mode string `xml:"mode,attr"`
	} `xml:"cpu"`
	OnPoweroff string `xml:"on_poweroff"`
	OnReboot   string `xml:"on_reboot"`
	OnCrash    string `xml:"on_crash"`
	Devices    struct {
		Controllers []controller `xml:"controller"`
		Serial      struct {
			Type   string `xml:"type,attr"`
			Source struct {
				Path   string `xml:"path,attr"`
				Append string `xml:"append,attr"`
			} `xml:"source"`
		} `xml:"serial"`
		Channels   []channel `xml:"channel"`
		Interfaces []element `xml:"interface"`
		Balloon    struct {
			Model string `xml:"model,attr"`
		} `xml:"memballoon"`
	} `xml:"devices"`
}

// noContent is an element that encoding/xml wrote without any. In escaped text no < or > stands for itself.
var noContent = regexp.MustCompile(`></[a-z]+>`)

// emptied closes elements without content at once, as people and libvirt write them.
func emptied(text string) string { return noContent.ReplaceAllString(text, "/>") }
