package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// SignatureHeader carries a signature: t=SECONDS,v1=HEX. SECONDS is Unix time, HEX
	// the HMAC-SHA256 of SECONDS, a newline, the recharge id, a newline and the body.
	// The id is in it because the body does not name the recharge: else a signature
	// for one would be good for all of the next five minutes.
	SignatureHeader = "Creditstream-Signature"
	// SignatureWindow is how far a signature's time may be from ours, before or after.
	SignatureWindow = 5 * time.Minute

	maxSecrets     = 16
	minSecretBytes = 32
)

// A secret is a line of the file of secrets.
type secret struct {
	name string
	key  []byte
}

// parseSecrets reads lines of a name and a secret. Several are good at a time, so
// that one can be replaced by another.
func parseSecrets(file string, b []byte) (list []secret, err error) {
	err = readLines(file, b, maxSecrets, func(words []string) error {
		if len(words) != 2 || len(words[1]) < minSecretBytes || !visible(words[1]) {
			return fmt.Errorf("expected NAME SECRET, the secret of at least %d visible ASCII characters, as `creditstream token --signing` prints it", minSecretBytes)
		}
		list = append(list, secret{words[0], []byte(words[1])})
		return nil
	})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%s: has no secret: add a line that `creditstream token --signing` prints, or do not name the file", file)
	}
	return list, err
}

// NewSecret makes a secret for signatures, and the line of the file that holds it.
func NewSecret(name string) (key, line string, err error) {
	if !nameGrammar.MatchString(name) {
		return "", "", fmt.Errorf("%q is not allowed: expected %s", name, nameExpected)
	}
	key = random()
	return key, name + " " + key, nil
}

// A Signature is what the header holds, not verified yet.
type Signature struct {
	seconds string // as sent: that is what was signed
	at      time.Time
	mac     [sha256.Size]byte
}

var errSignatureForm = errors.New("expected t=SECONDS,v1=HEX")

// parseSignature reads the value of the header: one t and one v1, in this order.
func parseSignature(value string) (s Signature, err error) {
	t, v1, found := strings.Cut(value, ",")
	seconds, isTime := strings.CutPrefix(t, "t=")
	mac, isMAC := strings.CutPrefix(strings.TrimLeft(v1, " "), "v1=")
	if !found || !isTime || !isMAC || len(mac) != hex.EncodedLen(len(s.mac)) {
		return Signature{}, errSignatureForm
	}
	n, err := strconv.ParseUint(seconds, 10, 40) // 34,000 years
	if err != nil {
		return Signature{}, errSignatureForm
	}
	if _, err := hex.Decode(s.mac[:], []byte(mac)); err != nil {
		return Signature{}, errSignatureForm
	}
	s.seconds, s.at = seconds, time.Unix(int64(n), 0)
	return s, nil
}

// by returns the secret that made the signature. It tries all of them.
func (s *Signature) by(list []secret, rechargeID string, body []byte) *secret {
	var found *secret
	for i := range list {
		mac := hmac.New(sha256.New, list[i].key)
		mac.Write([]byte(s.seconds + "\n" + rechargeID + "\n"))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), s.mac[:]) {
			found = &list[i]
		}
	}
	return found
}
