package resource

import (
	"fmt"
	"strings"

	"weft.dev/schema"
)

// File is a configuration file below weft's run directory.
type File struct {
	// Path is relative to the directory of generated files, which "{run}"
	// stands for in a Process: clean, without "..", no part starting with ".".
	Path string `json:"path"`
	Mode uint32 `json:"mode"`
	// Parts in order make the content.
	Parts []Part `json:"parts"`
	// Image is the label of the volume where the content is an image in ISO 9660,
	// "" where it is text: then each part belongs to the file in it that At names.
	Image string `json:"image,omitempty"`
	// NIC is set on what belongs to one NIC.
	Nic string `json:"nic,omitempty"`
	// Authors wrote lines of the content, in order; the rest is its asker's.
	Authors []Lines `json:"authors,omitempty"`
	// Test is a command that checks the content before it is there, in a file that
	// "{file}" stands for. If it fails, or a secret of the file cannot be read, what was
	// there before stays, and so does what needs the file; the rest of its owner goes on.
	// It must not print what it reads.
	Test []string `json:"test,omitempty"`
}

// A Part is literal text, or the name of a file on the host whose content is
// secret: then it is opened by the driver only, and appears in fingerprints as
// Digest, a keyed digest that the host fills in before Diff. Hidden text comes
// from the tree and is shown no more than a secret: see Redacted.
type Part struct {
	Text   string `json:"text,omitempty"`
	Secret string `json:"secret,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
	Digest string `json:"digest,omitempty"`
	// At is a path in the image that the file is: relative, with slashes. Parts of one
	// path follow each other.
	At string `json:"at,omitempty"`
	// Word, where it is more than 0: the secret is one word of at most so many bytes,
	// without white space or control characters. Any other is refused.
	Word int `json:"word,omitempty"`
	// Optional: a secret that cannot be read is empty, and who reads the file tells of it.
	Optional bool `json:"optional,omitempty"`
	// Pos is where somebody wrote which secret it is, or the zero value.
	Pos schema.Pos `json:"pos,omitzero"`
}

// Closed reports whether no output shows what the part holds.
func (p *Part) Closed() bool { return p.Secret != "" || p.Hidden }

// ID implements State.
func (f File) ID() ID { return ID{KindFile, f.Path} }

// Needs implements State.
func (File) Needs() []ID { return nil }

// NIC implements NICBound.
func (f File) NIC() string { return f.Nic }

// Content fingerprints what the file holds.
func (f File) Content() uint64 {
	h := newHash("content")
	if f.Image != "" {
		h.str("image").str(f.Image)
	}
	text, at := "", ""
	for _, p := range f.Parts {
		if p.At != at {
			at = p.At
			h.str(text).str("at").str(at)
			text = ""
		}
		if !p.Closed() {
			text += p.Text
			continue
		}
		h.str(text).str(p.Secret)
		if p.Hidden {
			h.str("hidden")
		}
		if text = ""; p.Hidden && p.Digest == "" {
			h.str(p.Text)
			continue
		}
		h.str(p.Digest)
	}
	return h.str(text).sum()
}

// Fingerprint implements State.
func (f File) Fingerprint() uint64 {
	return newHash(string(KindFile)).str(f.Path).num(uint64(f.Mode)).num(f.Content()).sum()
}

// Fields implements State. Secrets show as their reference, hidden text not at all.
func (f File) Fields() []Field {
	var b strings.Builder
	if f.Image != "" {
		b.WriteString("(an image with the label " + f.Image + ")\n")
	}
	at := ""
	for _, p := range f.Parts {
		if p.At != at {
			at = p.At
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
				b.WriteByte('\n')
			}
			b.WriteString("/" + at + ":\n")
		}
		switch {
		case p.Secret != "":
			b.WriteString("(secret " + p.Secret + ")")
		case p.Hidden:
			b.WriteString("(not shown)")
		default:
			b.WriteString(p.Text)
		}
	}
	return []Field{
		{Name: "mode", Value: fmt.Sprintf("%04o", f.Mode)},
		{Name: "content", Value: strings.TrimSuffix(b.String(), "\n"), Lines: true},
	}
}

// Process is a daemon that outlives the agent. In Argv and Test, "{run}" stands
// for the directory that File.Path is relative to. It may not write there: what
// no File asks for is removed. "{weft}" stands for the program that the agent is,
// and "{state}" for a file that the process may write and finds again, also after
// a reboot, when a process of that name is started once more. Its environment is PATH and weft's marks, its
// directory is "/", what it prints goes to a log that the driver keeps small.
// It must stay in the foreground or, if it makes itself a daemon, end with
// status 0 once it serves.
type Process struct {
	// Name is unique on the host, such as "acme-web/dnsmasq".
	Name string   `json:"name"`
	NS   string   `json:"ns,omitempty"`
	Argv []string `json:"argv"`
	// Start fingerprints what only a restart changes (beside Argv), Load what
	// a reload changes: the content of the files read at either time. Where a
	// file that After lists has secret parts, the host adds their digests to
	// Load if Reload is set, else to Start. One written later than the last load
	// is loaded again.
	Start uint64 `json:"start,omitempty"`
	Load  uint64 `json:"load,omitempty"`
	// Reload is the signal that makes it read its files again, "HUP", "USR1",
	// "USR2", or "" if it notices by itself.
	Reload string `json:"reload,omitempty"`
	// Test is a command that checks the files, run in NS before a restart or a
	// reload; if it fails the running process is left as it is.
	Test []string `json:"test,omitempty"`
	// Device is a link of NS whose device of that moment it binds to: where another
	// takes the name, it is started anew.
	Device string `json:"device,omitempty"`
	// Files, Links and whatever else has to be there before.
	After []ID `json:"after,omitempty"`
	// Probes are what it answers while it is well. While it does not it is started
	// anew, and when that does not help its namespace is made anew.
	Probes []Probe `json:"probes,omitempty"`
}

// ID implements State.
func (p Process) ID() ID { return ID{KindProcess, p.Name} }

// Needs implements State. A process does not die with its namespace, so that
// is a need and no parent.
func (p Process) Needs() []ID {
	if p.NS == "" {
		return p.After
	}
	return append([]ID{{KindNS, p.NS}}, p.After...)
}

// StartPrint is what is written into the process' environment as WEFT_START.
func (p Process) StartPrint() uint64 {
	return newHash("start").str(p.NS).strs(p.Argv).num(p.Start).sum()
}

// Fingerprint implements State.
func (p Process) Fingerprint() uint64 {
	return newHash(string(KindProcess)).str(p.Name).num(p.StartPrint()).num(p.Load).str(p.Reload).sum()
}

// Fields implements State. Another command or configuration is a restart all
// the same, but one step of the driver: it tests first, and stops only then.
func (p Process) Fields() []Field {
	loaded := "not known"
	if p.Load != 0 {
		loaded = fmt.Sprintf("%016x", p.Load)
	}
	return []Field{
		{Name: "namespace", Value: p.NS, Fixed: true},
		{Name: "command", Value: strings.Join(p.Argv, " ")},
		{Name: "configuration", Value: fmt.Sprintf("%016x", p.Start)},
		{Name: "loaded", Value: loaded},
	}
}
