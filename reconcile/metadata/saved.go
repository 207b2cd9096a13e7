package metadata

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"

	"weft.dev/reconcile/host"
)

// saved has, by the id of a VM, a salted digest of the password that it took: it is
// told the next one only.
type saved map[string]string

// readSaved reads what was remembered; nothing if that cannot be read, as after the
// loss of the host.
func readSaved(path string) saved {
	out := saved{}
	b, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(b, &out) != nil || out == nil {
		return saved{}
	}
	return out
}

// taken is what a worker says of a guest: which VM, and the mark of the password that
// it took, for there may be another by the time that the keeper hears of it.
type taken struct {
	ID   string `json:"id"`
	Mark string `json:"mark"`
}

func (s saved) write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return host.WriteFile(path, append(b, '\n'), 0o600)
}

func (s saved) has(id string, password []byte) bool {
	salt, _, ok := strings.Cut(s[id], ":")
	return ok && subtle.ConstantTimeCompare([]byte(digest(salt, password)), []byte(s[id])) == 1
}

func markOf(password []byte) string { return digest(rand.Text(), password) }

func digest(salt string, password []byte) string {
	sum := sha256.Sum256(append([]byte(salt+":"), password...))
	return salt + ":" + hex.EncodeToString(sum[:])
}
