package source

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

const (
	// sshNamespace is what git signs for.
	sshNamespace = "git"
	// minRSA is what OpenSSH makes at least by default, less a bit.
	minRSA = 2047
	// maxSigners bounds the file.
	maxSigners = 4 << 20
)

// signers are the keys that count.
type signers struct {
	pgp openpgp.EntityList
	ssh []sshSigner
}

// An sshSigner is one line with an SSH key.
type sshSigner struct {
	key           ssh.PublicKey
	namespaces    string // pattern list; empty: any
	after, before time.Time
}

// readSigners reads a file of armored GPG public keys and of lines as in
// OpenSSH's authorized_keys or allowed_signers. A restriction that is not
// understood is an error, so it is never ignored.
func readSigners(file string) (*signers, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("keys: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("keys: %s is not a regular file", file)
	case info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("keys: others than its owner may write %s: chmod go-w", file)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSigners+1))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if len(b) > maxSigners {
		return nil, fmt.Errorf("keys: %s is larger than %d MiB", file, maxSigners>>20)
	}
	s, line, err := parseSigners(string(b))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s:%d: %w", file, line, err)
	case len(s.pgp)+len(s.ssh) == 0:
		return nil, fmt.Errorf("keys: %s lists no key", file)
	}
	return s, nil
}

// parseSigners returns the line of an error besides.
func parseSigners(text string) (*signers, int, error) {
	const begin, end = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
	s := &signers{}
	var block strings.Builder
	n, began := 0, 0
	for raw := range strings.Lines(text) {
		n++
		line := strings.TrimSpace(raw)
		switch {
		case began > 0:
			block.WriteString(line + "\n")
			if line != end {
				continue
			}
			keys, err := readPGP(block.String())
			if err != nil {
				return nil, began, err
			}
			s.pgp = append(s.pgp, keys...)
			began = 0
			block.Reset()
		case line == begin:
			began = n
			block.WriteString(line + "\n")
		case line == "", line[0] == '#':
		case strings.HasPrefix(line, "-----BEGIN ") && strings.Contains(line, "PRIVATE KEY"):
			return nil, n, errors.New("this is a private key: list public ones")
		default:
			k, err := parseSSHSigner(line)
			if err != nil {
				return nil, n, err
			}
			s.ssh = append(s.ssh, k)
		}
	}
	if began > 0 {
		return nil, began, errors.New("the GPG key has no end")
	}
	return s, 0, nil
}

func readPGP(block string) (keys openpgp.EntityList, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the GPG key cannot be read: %v", p)
		}
	}()
	keys, err = openpgp.ReadArmoredKeyRing(strings.NewReader(block))
	if err != nil {
		return nil, fmt.Errorf("the GPG key cannot be read: %w", err)
	}
	return keys, nil
}

// sshKinds are the keys that may be listed: no DSA, no certificates.
var sshKinds = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoRSA,
}

// parseSSHSigner reads "[OPTIONS] KIND KEY [COMMENT]", as authorized_keys has
// it, or "PRINCIPALS [OPTIONS] KIND KEY [COMMENT]", as allowed_signers has it.
// Principals are names for people: each listed key counts for every commit.
func parseSSHSigner(line string) (sshSigner, error) {
	fields, err := splitQuoted(line)
	if err != nil {
		return sshSigner{}, err
	}
	at := slices.IndexFunc(fields[:min(3, len(fields))], func(f string) bool { return slices.Contains(sshKinds, f) })
	if at < 0 || at+1 >= len(fields) {
		return sshSigner{}, errors.New("this is neither a GPG public key nor a line of authorized_keys or allowed_signers with a key of Ed25519, ECDSA or RSA")
	}
	key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(fields[at] + " " + fields[at+1]))
	if err != nil || len(rest) > 0 || key.Type() != fields[at] {
		return sshSigner{}, errors.New("the SSH key is damaged")
	}
	if k, ok := key.(ssh.CryptoPublicKey); ok {
		if r, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			return sshSigner{}, fmt.Errorf("the RSA key has %d bits only", r.N.BitLen())
		}
	}
	s := sshSigner{key: key}
	switch {
	case at == 2:
		err = s.restrict(fields[1])
	case at == 1 && !isPrincipals(fields[0]):
		err = s.restrict(fields[0])
	}
	return s, err
}

// isPrincipals tells names from options. A single word may be either.
func isPrincipals(field string) bool {
	flags := []string{"cert-authority", "restrict", "verify-required", "no-touch-required"}
	for word := range strings.SplitSeq(field, ",") {
		word = strings.ToLower(word)
		if slices.Contains(flags, word) || strings.HasPrefix(word, "no-") || strings.Contains(word, "=") {
			return false
		}
	}
	return true
}

// splitQuoted splits at blanks outside of double quotes, which it keeps.
func splitQuoted(line string) ([]string, error) {
	quoted := false
	fields := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t')
	})
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	return fields, nil
}

// restrict takes options as ssh-keygen(1) has them for allowed_signers.
func (s *sshSigner) restrict(options string) error {
	quoted := false
	for option := range strings.FieldsFuncSeq(options, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && r == ','
	}) {
		name, value, _ := strings.Cut(option, "=")
		value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
		var err error
		switch strings.ToLower(name) {
		case "namespaces":
			if s.namespaces = value; value == "" {
				return errors.New("namespaces are empty")
			}
			_, err = matches(value, sshNamespace)
		case "valid-after":
			s.after, err = parseDay(value)
		case "valid-before", "expiry-time":
			s.before, err = parseDay(value)
		default:
			err = fmt.Errorf("option %q is not understood here: list the key without it, if it may sign commits", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// allows says why a good signature of the key does not count.
func (s *sshSigner) allows(now time.Time) error {
	if s.namespaces != "" {
		if ok, err := matches(s.namespaces, sshNamespace); err != nil || !ok {
			return fmt.Errorf("is listed for %q only, not for %q", s.namespaces, sshNamespace)
		}
	}
	switch {
	case !s.after.IsZero() && now.Before(s.after):
		return fmt.Errorf("is listed as valid only after %s", s.after.Format(time.DateTime))
	case !s.before.IsZero() && !now.Before(s.before):
		return fmt.Errorf("is listed as valid only before %s", s.before.Format(time.DateTime))
	}
	return nil
}

// matches is OpenSSH's match_pattern_list: one pattern must match and none with
// an exclamation mark before it may.
func matches(patterns, name string) (bool, error) {
	found := false
	for pattern := range strings.SplitSeq(patterns, ",") {
		bare, not := strings.CutPrefix(pattern, "!")
		if bare == "" || strings.ContainsAny(bare, `[]\/`) {
			return false, fmt.Errorf("%q is no pattern of namespaces", pattern)
		}
		ok, err := path.Match(bare, name)
		if err != nil {
			return false, fmt.Errorf("%q is no pattern of namespaces", pattern)
		}
		if ok && not {
			return false, nil
		}
		found = found || ok
	}
	return found, nil
}

// parseDay reads a time as ssh-keygen(1) has it: YYYYMMDD[HHMM[SS]][Z], local
// without the Z.
func parseDay(s string) (time.Time, error) {
	digits, utc := strings.CutSuffix(s, "Z")
	zone := time.Local
	if utc {
		zone = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) != len(layout) {
			continue
		}
		if t, err := time.ParseInLocation(layout, digits, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time as ssh-keygen has them: YYYYMMDD[HHMM[SS]][Z]", s)
}

// checkSigners says early what would refuse every revision of the repository,
// which is at path where it is on this machine.
func checkSigners(file, path string) error {
	if file == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() && !IsRepository(path) {
		return &problem{ErrNotRepository, path + " is a directory without Git: it has no signatures to verify"}
	}
	_, err := readSigners(file)
	return err
}
