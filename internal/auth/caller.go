package auth

import (
	"fmt"
	"time"
)

// A Caller is who asks.
type Caller struct {
	How    How
	Name   string // of the token or the secret; "" for NoAuth
	Scopes Scope
}

// How says by what a caller is known.
type How string

// The ways to be known.
const (
	ByToken     How = "token"
	BySignature How = "signature"
	NoAuth      How = "none" // nobody is asked who they are
)

// May reports whether the caller may do one of these. Admin may do all of them.
func (c Caller) May(oneOf Scope) bool {
	return c.Scopes&Admin != 0 || (c.Scopes|Anyone)&oneOf != 0
}

// Open is a gate that lets everybody do everything. It is for an address that only
// the operator can reach.
type Open struct{}

func (Open) caller() (Caller, error) {
	return Caller{How: NoAuth, Scopes: Admin}, nil
}

// Token takes anything for one.
func (o Open) Token([]string) (Caller, error) { return o.caller() }

// Signature takes anything for one.
func (Open) Signature([]string) (Signature, error) { return Signature{}, nil }

// Signer takes anything for good.
func (o Open) Signer(Signature, string, []byte) (Caller, error) { return o.caller() }

// A Reason is why a caller is not let in.
type Reason string

// The reasons.
const (
	NoCredentials    Reason = "credentials_missing"
	BadCredentials   Reason = "credentials_malformed" // the header is none that we understand
	UnknownToken     Reason = "token_unknown"
	ScopeMissing     Reason = "scope_missing"
	BadSignature     Reason = "signature_malformed"
	StaleSignature   Reason = "signature_expired" // older than the window, or from the future
	UnknownSignature Reason = "signature_wrong"
	TooMany          Reason = "rate_limited"
)

// Reasons lists all reasons.
func Reasons() []Reason {
	return []Reason{
		NoCredentials, BadCredentials, UnknownToken, ScopeMissing, BadSignature, StaleSignature, UnknownSignature, TooMany,
	}
}

// A RefusedError says why a caller is not let in, and what to do.
type RefusedError struct {
	Reason     Reason
	Detail     string        // a sentence for the caller; holds nothing that was sent
	RetryAfter time.Duration // TooMany: how long to wait
}

func (e *RefusedError) Error() string { return e.Detail }

func refused(reason Reason, format string, a ...any) *RefusedError {
	return &RefusedError{Reason: reason, Detail: fmt.Sprintf(format, a...)}
}
