package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/creditstream/creditstream/internal/auth"
)

type textOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Body        []byte
}

func plainText(s string) *textOutput {
	return &textOutput{ContentType: "text/plain; charset=utf-8", Body: []byte(s + "\n")}
}

func textResponse(description string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: description,
		Content:     map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
}

func (s *server) healthRoutes() {
	route(s, auth.Anyone, huma.Operation{
		OperationID: "livez", Method: http.MethodGet, Path: "/livez", Summary: "Is the process alive",
		Responses: textResponse("It is"), Errors: []int{http.StatusInternalServerError},
	}, func(context.Context, *struct{}) (*textOutput, error) { return plainText("alive"), nil })
	route(s, auth.Anyone, huma.Operation{
		OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Summary: "Does the process do its work",
		Responses: textResponse("It does"), Errors: []int{http.StatusServiceUnavailable},
	}, func(context.Context, *struct{}) (*textOutput, error) {
		if waits := s.opt.Ready(); waits != nil {
			return nil, problem(http.StatusServiceUnavailable, reasonNotReady, "%s", waits)
		}
		return plainText("ready"), nil
	})
	if s.opt.Gatherer == nil {
		return
	}
	s.plain(auth.Read, "GET /metrics", promhttp.HandlerFor(s.opt.Gatherer, promhttp.HandlerOpts{}).ServeHTTP)
	op := s.guarded(auth.Read, huma.Operation{
		OperationID: "metrics", Method: http.MethodGet, Path: "/metrics", Summary: "Metrics for Prometheus",
		Responses: textResponse("Prometheus text format"),
	})
	s.huma.OpenAPI().AddOperation(&op)
}
