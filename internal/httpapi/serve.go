package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Serve answers on ln until ctx ends, then stops within 4 s: no new connections at
// once, changes that wait to be applied are answered 202 after 2 s, and whoever
// is still connected after that is cut off. It closes ln, and returns nil after
// such a stop.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger) error {
	return serve(ctx, ln, h, log, 2*time.Second, 4*time.Second)
}

func serve(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger, patience, limit time.Duration) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second, // of a body that no route reads; the others have BodyTimeout
		WriteTimeout:      30 * time.Second, // more than AppendTimeout and ApplyWait together
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    2 * maxHeadBytes, // what is between gets a problem; more, a line of text by net/http
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	impatient := time.AfterFunc(patience, cancel)
	defer impatient.Stop()
	stop, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancelStop()
	err := srv.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // whoever is still connected: also one that has connected and said nothing
	}
	if err != nil {
		err = fmt.Errorf("stop HTTP: %w", err)
	}
	if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve HTTP: %w", stopped))
	}
	return err
}
