package httpapi

// ServeWithin is Serve with other times to stop in.
var ServeWithin = serve
