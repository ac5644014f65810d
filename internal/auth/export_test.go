package auth

import (
	"context"
	"log/slog"
)

// Look looks once at every file.
func (g *Gate) Look(ctx context.Context, log *slog.Logger) { g.look(ctx, log) }

// Bearer is bearer, without saying why not.
func Bearer(values []string) (string, bool) {
	secret, refusal := bearer(values)
	return secret, refusal == nil
}

// ParseSignature is parseSignature, and writes what it has read.
func ParseSignature(value string) (seconds string, unix int64, mac []byte, err error) {
	s, err := parseSignature(value)
	return s.seconds, s.at.Unix(), s.mac[:], err
}

// Meters returns how many names are counted.
func (g *Gate) Meters() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.meters)
}
