// Package bench measures a whole Floodgate against the ceiling of its machine, for `make bench`.
//
// It promises that no figure stands without its neighbour of the same rounds, and that a run which oversold or lost an
// order leaves no report.
package bench
