package alerts

// What tests of the package see beside its API.
const (
	MaxAnswers     = maxAnswers
	MaxHeaderBytes = maxHeaderBytes
)

// AppendRated is appendRated.
var AppendRated = appendRated
