package httpapi

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/balance"
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

// nullable hands on whether a field is absent or null, and its value through of.
func nullable[T, U any](v field[T], of func(T) U) *balance.Nullable[U] {
	switch {
	case !v.given:
		return nil
	case v.null:
		return &balance.Nullable[U]{Null: true}
	}
	return &balance.Nullable[U]{Value: of(v.value)}
}

// micros reads an amount; nil when there is none, or when it is found to be wrong.
func micros[T ~string](f *findings, at string, a *T) *rating.Micros {
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
