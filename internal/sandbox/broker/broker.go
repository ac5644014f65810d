// Package broker is the embedded Kafka broker of the sandbox and of the tests:
// kfake, franz-go's in-process cluster, listening on TCP for any client.
//
// It adds one thing that kfake lacks: a topic with
// message.timestamp.type=LogAppendTime answers fetches as Apache Kafka does,
// with attribute bit 3 set, the append time as the batch's greatest timestamp
// and the producer's time left in the first one; produce answers carry the
// append time too. Append times never go back within one broker.
//
// With a DataDir the log, topics, groups and committed offsets survive Close
// and also a killed process: every write reaches the operating system before
// it is acknowledged, and the disk as well with SyncWrites. One process at a
// time may use a DataDir; nothing guards that.
//
// It has no replication and is not for production.
package broker

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Options say how to run a broker. Zero values mean the defaults.
type Options struct {
	// Addr is the host:port to listen on; several brokers take the ports that
	// follow. Default 127.0.0.1:0, a free port of the loopback.
	Addr string
	// AdvertisedHost is the host that clients are told to connect to. Default:
	// the host of Addr, or 127.0.0.1 if that means every interface.
	AdvertisedHost string
	// DataDir keeps the state in files. Default: in memory.
	DataDir string
	// SyncWrites makes every append reach the disk before it is acknowledged.
	SyncWrites bool
	// Brokers is the size of the cluster. Default: 1.
	Brokers int
	// Now is the clock of the append times. Default: the wall clock.
	Now func() time.Time
	// Kfake are further options, applied last, for tests.
	Kfake []kfake.Opt
}

// Broker is a running cluster.
type Broker struct {
	cluster *kfake.Cluster
	times   *appendTimes
}

// Start starts a broker. The caller closes it.
func Start(opts Options) (*Broker, error) {
	if opts.Now == nil {
		opts.Now = time.Now //nolint:forbidigo // the default of the injected clock
	}
	b := &Broker{times: newAppendTimes(opts.Now)}
	network, err := b.network(opts)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	if opts.DataDir != "" {
		network = append(network, kfake.DataDir(opts.DataDir))
	}
	if opts.SyncWrites {
		network = append(network, kfake.SyncWrites())
	}
	b.cluster, err = kfake.NewCluster(append(network, opts.Kfake...)...)
	if err != nil {
		return nil, fmt.Errorf("start broker on %s: %w", opts.Addr, err)
	}
	// A control that does not handle its request stays registered.
	b.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if produce, ok := req.(*kmsg.ProduceRequest); ok {
			b.times.stamp(b.cluster, produce)
		}
		return nil, nil, false
	})
	return b, nil
}

// network returns the options that make kfake listen as opts say: by itself it
// always takes the loopback.
func (b *Broker) network(opts Options) ([]kfake.Opt, error) {
	host, portText, err := net.SplitHostPort(cmp.Or(opts.Addr, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", opts.Addr, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port of %q: %w", opts.Addr, err)
	}
	ports := make([]int, max(opts.Brokers, 1))
	for i := range ports {
		if port != 0 {
			ports[i] = int(port) + i
		}
	}
	advertisedHost := cmp.Or(opts.AdvertisedHost, host, "127.0.0.1")
	if ip := net.ParseIP(advertisedHost); ip != nil && ip.IsUnspecified() {
		advertisedHost = "127.0.0.1"
	}
	listen := func(network, address string) (net.Listener, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		ln, err := net.Listen(network, net.JoinHostPort(host, port)) //nolint:noctx // kfake's hook has no context, and a listener does not wait
		if err != nil {
			return nil, err
		}
		return &listener{Listener: ln, advertisedHost: advertisedHost, times: b.times}, nil
	}
	return []kfake.Opt{kfake.Ports(ports...), kfake.ListenFn(listen)}, nil
}

// Addr returns the advertised host:port of the first broker.
func (b *Broker) Addr() string {
	return b.cluster.ListenAddrs()[0]
}

// Cluster returns the cluster for tests that inject faults. A ControlKey for
// Produce that waits delays the append but not its append time.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close saves the state and ends the broker.
func (b *Broker) Close() { b.cluster.Close() }

// listener hands out connections on which append times are put into answers,
// and says the advertised address, which is what kfake tells its clients.
type listener struct {
	net.Listener

	advertisedHost string
	times          *appendTimes
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, times: l.times}, nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr {
	_, port, err := net.SplitHostPort(l.Listener.Addr().String())
	if err != nil {
		return l.Listener.Addr()
	}
	return advertised(net.JoinHostPort(l.advertisedHost, port))
}

type advertised string

// Network implements net.Addr.
func (advertised) Network() string { return "tcp" }

// String implements net.Addr.
func (a advertised) String() string { return string(a) }
