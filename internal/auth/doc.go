// Package auth says who may use the HTTP API: callers with a bearer token, and
// payment services that sign what they report.
//
// What it promises:
//   - No token is kept: the file has the SHA-256 of each. A slow hash would only
//     help against guessing, and a token of 256 random bits cannot be guessed; but
//     it would let anybody make each request cost a tenth of a second.
//   - Tokens and signatures are compared in a time that does not depend on where
//     they differ, nor on which token of the file it is.
//   - What is wrong with a file is told with file and line, and never with what
//     stands there: it may be a secret. A file that goes wrong while the process
//     runs changes nothing until it is right again.
//   - It keeps nothing about callers that it does not know: memory is bounded by the files.
package auth
