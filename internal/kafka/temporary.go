package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Temporary says whether err may pass without anyone changing anything: the
// network, a broker or replica that is away, a leader or coordinator that
// moves, metadata that lags behind. False means that waiting is pointless: bad
// bytes, missing rights, a message too large, a request that is wrong.
//
// The end of a context is not temporary: whoever waits asks its own context
// first. A topic or partition that does not exist counts as temporary, because
// metadata lags behind a creation; a caller bounds how long it believes that.
func Temporary(err error) bool {
	var (
		code kafka.Error
		cert *tls.CertificateVerificationError
		bad  *BatchError
		netw net.Error
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &bad), errors.As(err, &cert), errors.Is(err, ErrClosed):
		return false
	case errors.As(err, &code):
		return temporaryCode(code)
	case errors.Is(err, protocol.ErrNoTopic), errors.Is(err, protocol.ErrNoPartition), errors.Is(err, protocol.ErrNoLeader):
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return true
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
		return true
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	}
	return errors.As(err, &netw)
}

// temporaryCode follows kafka-go's list with these differences: a broker that
// is not available or reports an error of its own (a full disk) is waited for;
// a batch that arrives damaged and answers to administration are not.
func temporaryCode(code kafka.Error) bool {
	away := []kafka.Error{kafka.Unknown, kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable, kafka.ReassignmentInProgress}
	final := []kafka.Error{kafka.InvalidMessage, kafka.GroupSubscribedToTopic, kafka.NoReassignmentInProgress, kafka.ElectionNotNeeded}
	return slices.Contains(away, code) || code.Temporary() && !slices.Contains(final, code)
}

// unknownTopic says whether err means that a topic or partition does not exist
// as far as the cluster knows.
func unknownTopic(err error) bool {
	return errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic) ||
		errors.Is(err, protocol.ErrNoPartition)
}

// tooLarge says whether a broker refused a batch for its size.
func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}
