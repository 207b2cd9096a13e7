package balance

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A config is what HAProxy is given to read.
type config struct {
	text string
	// sum changes with the text and what the certificates hold.
	sum [sha256.Size]byte
	// certs has the balancers that show a certificate: when it ends, the zero time
	// where there is none, so that the balancer was left out.
	certs map[string]time.Time
}

// read takes the configuration of dir, without the balancers whose certificates are not
// there: one that has none must not keep all others from what is new.
func read(dir string) (*config, error) {
	text, err := os.ReadFile(filepath.Join(dir, "haproxy.cfg"))
	if err != nil {
		return nil, err
	}
	c := &config{certs: map[string]time.Time{}}
	h := sha256.New()
	var out strings.Builder
	for _, section := range sections(string(text)) {
		name, file := shows(section)
		if file != "" {
			held, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
			c.certs[name] = ends(held)
			if err != nil {
				continue
			}
			_, _ = h.Write(held) // a hash takes all
		}
		out.WriteString(section)
	}
	c.text = out.String()
	_, _ = io.WriteString(h, c.text)
	h.Sum(c.sum[:0])
	return c, nil
}

// sections cuts a configuration: each begins with a line that is not indented.
func sections(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if len(out) == 0 || !strings.HasPrefix(line, " ") {
			out = append(out, "")
		}
		out[len(out)-1] += line
	}
	return out
}

// shows is the balancer that a section is of, and the file of its certificate if it
// has one.
func shows(section string) (name, file string) {
	for line := range strings.Lines(section) {
		switch f := strings.Fields(line); {
		case len(f) == 2 && f[0] == "listen":
			name = f[1]
		case len(f) > 4 && f[0] == "bind" && f[2] == "ssl" && f[3] == "crt":
			file = f[4]
		}
	}
	return name, file
}

// ends is when the first certificate of a file ends.
func ends(held []byte) time.Time {
	for {
		var block *pem.Block
		if block, held = pem.Decode(held); block == nil {
			return time.Time{}
		}
		if cert, err := x509.ParseCertificate(block.Bytes); block.Type == "CERTIFICATE" && err == nil {
			return cert.NotAfter
		}
	}
}

// check has HAProxy read a configuration whose certificates are in dir.
func check(dir, text string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	go func() {
		_, _ = io.WriteString(w, text) // who does not read it to its end says why
		_ = w.Close()
	}()
	cmd := exec.Command(program, "-c", "-C", dir, "-L", localPeer, "-f", "/dev/fd/3")
	cmd.ExtraFiles = []*os.File{r}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("it is refused: %w", reason(err, string(out)))
	}
	return nil
}

// reason is the first thing that HAProxy is alarmed about.
func reason(err error, out string) error {
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("haproxy is not installed (Debian: haproxy)")
	}
	for line := range strings.Lines(out) {
		if _, what, ok := strings.Cut(strings.TrimSpace(line), " : "); ok && strings.HasPrefix(line, "[ALERT]") {
			return errors.New(what)
		}
	}
	return err
}

// usable says why the certificate and the key of a file cannot be shown to clients.
func usable(file string) error {
	held, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := tls.X509KeyPair(held, held); err != nil { // says nothing of what it read
		return errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	// HAProxy is more particular, for one about keys that are too short.
	abs, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	// What leads to the file may have blanks in it.
	text := "defaults\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\nlisten x\n    bind 127.0.0.1:443 ssl crt " + filepath.Base(abs) + "\n"
	if err := check(filepath.Dir(abs), text); err != nil {
		return fmt.Errorf("HAProxy cannot use it, which for one asks for keys of RSA with 2048 bits: %w", err)
	}
	return nil
}
