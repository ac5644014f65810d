package httpapi

import (
	"net/http"

	"github.com/creditstream/creditstream/internal/auth"
)

// ServeWithin is Serve with other times to stop in.
var ServeWithin = serve

// AddWithoutScope adds a route of which nobody has said who may use it.
func AddWithoutScope() {
	g := &guard{mux: http.NewServeMux(), scopes: map[string]auth.Scope{"GET /v1/other": auth.Read}}
	g.HandleFunc("GET /v1/new", http.NotFound)
}
