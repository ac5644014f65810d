// Package corrections makes the charge of a call what its corrected CDR says.
//
// What a call has cost so far is read from the logs, never from a balance: its
// charge from the rated records, and earlier corrections from the commands. The
// difference to what the corrected CDR costs becomes one adjustment, whose id is
//
//	correct/<name of the call>/<number of the correction, from 1>
//
// and the name a digest of source, id, account and answer time (design rule 8).
//
// # What it promises
//
//   - Correcting a call to what it costs already appends nothing: the same file
//     twice changes nothing, and A, B, A ends at A.
//   - Two runs at the same time cannot both count: they append under the same id,
//     and the first one in the log is applied. A run that was second says so.
//   - A call that cannot be corrected is told of, and keeps no other from it. So is
//     one of which a record may have expired, or may still be charged, or that was
//     charged under another name.
//   - What became of an adjustment is told once it is applied, as far as that happens
//     in time.
//
// It never applies anything itself: an adjustment counts when a processor has
// applied it, in the order of the log.
package corrections
