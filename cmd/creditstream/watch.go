package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/internal/census"
)

// instrument adds the metrics that are no package's own.
func (p *processor) instrument() {
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f := promauto.With(p.registry)
	f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "creditstream_build_info", Help: "Version of this build; the value is 1.",
	}, []string{"version"}).WithLabelValues(version).Set(1)
	p.writeRetries = f.NewCounter(prometheus.CounterOpts{
		Name: "creditstream_kafka_write_retries_total", Help: "Batches that were written to Kafka again, or wait to be.",
	})
	p.clockOffset = f.NewGauge(prometheus.GaugeOpts{
		Name: "creditstream_kafka_clock_offset_seconds",
		Help: "How far the broker's clock was ahead of this machine's (below zero: behind) at the last command written, beyond what the round trip explains.",
	})
	p.decks.instrument(p.registry)
}

// count runs a census until the function that it returns is called, or ctx ends.
func (p *processor) count(ctx context.Context, stream *consumer.Consumer) (stop func()) {
	c := census.New(census.Config{
		Store: p.store, Held: stream.CommandPartitions, Registerer: p.registry, Now: p.now, Logger: p.log,
	})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	return func() { cancel(); <-done }
}
