// Package fault holds no code but tests: a collector runs as a process while its
// targets, endpoints, resolver, clock, secrets and configuration fail or change.
// After each, every sample on a page is stored, in order, or counted with a reason
// in the collector's metrics, to the last one.
package fault
