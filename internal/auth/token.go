package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	// maxTokens bounds the tokens of a file: each request is compared with all.
	maxTokens = 1000
	// maxTokenBytes bounds what is hashed of a request.
	maxTokenBytes = 256
	hashPrefix    = "sha256:"
	tokenPrefix   = "cst_" // by which scanners for leaked secrets know ours
)

type tokenHash [sha256.Size]byte

// A token is a line of the file of tokens.
type token struct {
	name   string
	scopes Scope
	hash   tokenHash
}

// parseTokens reads lines such as
//
//	billing  read,fund  sha256:0a1b...
func parseTokens(file string, b []byte) (list []token, err error) {
	byHash := map[tokenHash]string{}
	err = readLines(file, b, maxTokens, func(words []string) error {
		if len(words) != 3 {
			return fmt.Errorf("the line has %d words: expected NAME SCOPES sha256:HASH, as `creditstream token` prints it", len(words))
		}
		scopes, err := ParseScopes(words[1])
		if err != nil {
			return err
		}
		t := token{name: words[0], scopes: scopes}
		text, found := strings.CutPrefix(words[2], hashPrefix)
		if n, err := hex.Decode(t.hash[:], []byte(firstBytes(text, hex.EncodedLen(sha256.Size)+1))); !found || err != nil || n != sha256.Size {
			return errors.New("the third word is no hash: expected sha256: and 64 hexadecimal digits, never the token itself; " +
				"if it is the token, make another with `creditstream token`: this one has been in a file")
		}
		if other := byHash[t.hash]; other != "" {
			return fmt.Errorf("is the token of %s: expected one of its own", other)
		}
		byHash[t.hash] = t.name
		list = append(list, t)
		return nil
	})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%s: has no token: nobody could use the API: add a line that `creditstream token` prints", file)
	}
	return list, err
}

// firstBytes keeps a text that is too long from being decoded past the end of a hash.
func firstBytes(s string, n int) string { return s[:min(n, len(s))] }

// find returns the token of this hash. It compares with all of them.
func find(list []token, h tokenHash) *token {
	at := -1
	for i := range list {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(list[i].hash[:], h[:]), i, at)
	}
	if at < 0 {
		return nil
	}
	return &list[at]
}

// NewToken makes a token of 256 random bits. line is what the file of tokens needs
// to know of it.
func NewToken(name string, scopes Scope) (secret, line string, err error) {
	if !nameGrammar.MatchString(name) {
		return "", "", fmt.Errorf("%q is not allowed: expected %s", name, nameExpected)
	}
	secret = tokenPrefix + random()
	hash := sha256.Sum256([]byte(secret))
	return secret, fmt.Sprintf("%s %s %s%x", name, strings.Join(scopes.Names(), ","), hashPrefix, hash), nil
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// bearer takes the token from the values of the header Authorization.
func bearer(values []string) (string, *RefusedError) {
	const expected = `send "Authorization: Bearer TOKEN"`
	switch {
	case len(values) == 0:
		return "", refused(NoCredentials, "This route needs a token: %s.", expected)
	case len(values) > 1:
		return "", refused(BadCredentials, "There is more than one header Authorization: %s once.", expected)
	}
	scheme, secret, found := strings.Cut(values[0], " ")
	secret = strings.Trim(secret, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") || secret == "" || len(secret) > maxTokenBytes || !visible(secret) {
		return "", refused(BadCredentials, "The header Authorization holds no bearer token of 1 to %d visible ASCII characters: %s.", maxTokenBytes, expected)
	}
	return secret, nil
}

func visible(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '!' || r > '~' }) < 0
}
