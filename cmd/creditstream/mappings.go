package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer/cdr"
)

// mappingStore notes what the records of a store are read by.
type mappingStore interface {
	NoteMappings(ctx context.Context, loaded []balance.MappingVersion, opt balance.NoteOptions) error
}

// mappingKeeper sees to it that this process reads records as all others of its
// store do, and as they were read before.
type mappingKeeper struct {
	versions []balance.MappingVersion
	options  balance.NoteOptions
	log      *slog.Logger
	now      func() time.Time
	compared comparison
}

func newMappingKeeper(formats *cdr.Options, options balance.NoteOptions, log *slog.Logger, now func() time.Time) *mappingKeeper {
	return &mappingKeeper{versions: mappingVersions(formats), options: options, log: log, now: now, compared: comparison{what: "the mapping"}}
}

// mappingVersions returns what records are read by, as a store notes it.
func mappingVersions(formats *cdr.Options) (all []balance.MappingVersion) {
	for _, v := range formats.Versions() {
		all = append(all, balance.MappingVersion(v))
	}
	return all
}

// checkFile returns an error when the records of a file are not read by the zone and
// the mapping of the processors. Its format is its own.
func checkFile(ctx context.Context, store *balance.Store, formats cdr.Options) error {
	err := store.CheckMappings(ctx, mappingVersions(&formats), store.Window())
	if missing, ok := errors.AsType[*balance.MissingMappingError](err); ok && missing.Source == "" {
		format, _, _ := strings.Cut(missing.ID, ",") // of the processors: then it is about the zone
		formats.Format = cdr.Format(format)
		err = store.CheckMappings(ctx, mappingVersions(&formats), store.Window())
	}
	return err
}

// note has the store note what was loaded, at the start.
func (k *mappingKeeper) note(ctx context.Context, store mappingStore) error {
	at := k.now()
	err := store.NoteMappings(ctx, k.versions, k.options)
	if err == nil {
		k.compared.made(at, nil)
	}
	if _, late := errors.AsType[*balance.LateMappingError](err); late {
		return fmt.Errorf("%w; if it was added in time but Redis was away or was restored from an older backup, start once with --accept-past-mappings", err)
	}
	return err
}

// run compares with the store until ctx ends (nil). It returns an error when this
// process must not go on reading records.
func (k *mappingKeeper) run(ctx context.Context, store mappingStore) error {
	tick := time.NewTicker(noteLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := k.check(ctx, store); err != nil {
				return err
			}
		}
	}
}

// check asks the store whether other processes have a version that this one lacks.
func (k *mappingKeeper) check(ctx context.Context, store mappingStore) error {
	at := k.now()
	err := store.NoteMappings(ctx, k.versions, again(k.options))
	var begins *time.Time
	if missing, ok := errors.AsType[*balance.MissingMappingError](err); ok {
		begins = &missing.ActiveFrom
	}
	return k.compared.ends(ctx, k.log, at, err, begins)
}
