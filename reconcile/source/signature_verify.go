package source

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/ssh"
)

// verify returns nil where signature, armored, is one of payload by a key of s
// that is good at that time. The date in a commit is not asked: whoever has a
// stolen key writes it.
func (s *signers) verify(payload []byte, signature string, now time.Time) error {
	switch {
	case len(signature) > maxSignature:
		return errors.New("its signature is too large")
	case strings.HasPrefix(signature, armorSSH):
		return s.verifySSH(payload, signature, now)
	case strings.HasPrefix(signature, armorPGP):
		return s.verifyPGP(payload, signature, now)
	}
	return errors.New("its signature is neither of GPG nor of SSH")
}

// verifyPGP turns panics of the decoders, which are fed by whoever can push,
// into errors.
func (s *signers) verifyPGP(payload []byte, signature string, now time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("its GPG signature cannot be read: %v", p)
		}
	}()
	block, err := armor.Decode(strings.NewReader(signature))
	if err != nil || block.Type != openpgp.SignatureType {
		return errors.New("its GPG signature cannot be read")
	}
	cfg := &packet.Config{Time: func() time.Time { return now }}
	sig, _, err := openpgp.VerifyDetachedSignature(s.pgp, bytes.NewReader(payload), block.Body, cfg)
	id := ""
	if sig != nil && sig.IssuerKeyId != nil {
		id = fmt.Sprintf(" %016X", *sig.IssuerKeyId)
	}
	var wrong pgperrors.SignatureError
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return errors.New("its GPG key is not listed, or may not sign")
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return fmt.Errorf("the GPG key%s has expired", id)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return fmt.Errorf("the GPG key%s is revoked", id)
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return fmt.Errorf("the signature of GPG key%s has expired, or is of the future", id)
	case errors.As(err, &wrong):
		return errors.New("its GPG signature is not one of this content")
	case err != nil:
		return fmt.Errorf("its GPG signature cannot be checked: %s", printable(err.Error()))
	case sig.SigType != packet.SigTypeBinary:
		return errors.New("its GPG signature is not one of a file")
	case !slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}, sig.Hash):
		return fmt.Errorf("the signature of GPG key%s uses a weak hash", id)
	}
	return nil
}

// sshMagic begins an SSH signature, and what is signed: PROTOCOL.sshsig of
// OpenSSH.
const sshMagic = "SSHSIG"

// sshBlob is an SSH signature after its magic.
type sshBlob struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// sshSigned is what is signed, after the magic.
type sshSigned struct {
	Namespace, Reserved, Hash string
	Digest                    []byte
}

func (s *signers) verifySSH(payload []byte, signature string, now time.Time) error {
	blob, err := parseSSH(signature)
	if err != nil {
		return fmt.Errorf("its SSH signature cannot be read: %w", err)
	}
	key, err := ssh.ParsePublicKey(blob.PublicKey)
	if err != nil {
		return errors.New("its SSH signature cannot be read: it has no key")
	}
	name := ssh.FingerprintSHA256(key)
	if _, ok := key.(*ssh.Certificate); ok {
		return errors.New("it is signed with an SSH certificate; only listed keys count")
	}
	var listed []sshSigner
	for _, k := range s.ssh {
		if bytes.Equal(k.key.Marshal(), blob.PublicKey) {
			listed = append(listed, k)
		}
	}
	if len(listed) == 0 {
		return fmt.Errorf("SSH key %s is not listed", name)
	}
	if blob.Namespace != sshNamespace {
		return fmt.Errorf("the signature of SSH key %s is for %q, not for %q", name, printable(blob.Namespace), sshNamespace)
	}
	var digest []byte
	switch blob.Hash {
	case "sha256":
		sum := sha256.Sum256(payload)
		digest = sum[:]
	case "sha512":
		sum := sha512.Sum512(payload)
		digest = sum[:]
	default:
		return fmt.Errorf("the signature of SSH key %s uses hash %q", name, printable(blob.Hash))
	}
	var sig ssh.Signature
	if ssh.Unmarshal(blob.Signature, &sig) != nil || sig.Format == ssh.KeyAlgoRSA { // that is SHA-1
		return fmt.Errorf("the signature of SSH key %s is of an unknown or weak kind", name)
	}
	signed := append([]byte(sshMagic), ssh.Marshal(sshSigned{blob.Namespace, blob.Reserved, blob.Hash, digest})...)
	if key.Verify(signed, &sig) != nil {
		return fmt.Errorf("the signature of SSH key %s is not one of this content", name)
	}
	for _, k := range listed { // one line may allow what another does not
		if err = k.allows(now); err == nil {
			return nil
		}
	}
	return fmt.Errorf("SSH key %s %w", name, err)
}

// parseSSH reads an armored SSH signature.
func parseSSH(signature string) (*sshBlob, error) {
	body, ok := strings.CutPrefix(signature, armorSSH+"\n")
	body, tail, ok2 := strings.Cut(body, "\n-----END SSH SIGNATURE-----")
	if !ok || !ok2 || strings.TrimSpace(tail) != "" {
		return nil, errors.New("it is torn")
	}
	b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", ""))
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	b, ok = bytes.CutPrefix(b, []byte(sshMagic))
	blob := &sshBlob{}
	if !ok || ssh.Unmarshal(b, blob) != nil {
		return nil, errors.New("it is no SSHSIG")
	}
	if blob.Version != 1 {
		return nil, fmt.Errorf("it has version %d, not 1", blob.Version)
	}
	return blob, nil
}
