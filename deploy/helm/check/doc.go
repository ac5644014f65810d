// Package check tests the Helm chart beside it: it lints and renders it with Helm's own
// packages, decodes what comes out, strictly, into the types of Kubernetes and of the
// Prometheus operator, and looks whether it keeps what the chart promises. It is a
// module of its own, so that the product depends on none of these.
package check
