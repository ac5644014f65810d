package httpapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/rating"
)

// findings are what is wrong with a body that fits its schema.
type findings []*huma.ErrorDetail

func (f *findings) add(at, message string, value any) {
	*f = append(*f, &huma.ErrorDetail{Location: at, Message: message, Value: value})
}

func (f *findings) problem() error {
	p := problem(http.StatusUnprocessableEntity, reasonInvalid, "validation failed")
	p.Errors = *f
	return p
}

// notNull returns the value of a field that must not be null; nil if it is absent.
func notNull[T any](f *findings, at string, v field[T]) *T {
	if v.null {
		f.add(at, "null is not allowed here", nil)
	}
	if !v.given || v.null {
		return nil
	}
	return &v.value
}

func (f *findings) micros(at string, a *amount) *rating.Micros {
	if a == nil {
		return nil
	}
	m, err := rating.ParseMicros(string(*a))
	if err != nil {
		f.add(at, err.Error(), *a)
		return nil
	}
	return &m
}
