// Package wire reads and writes the messages between collector and server:
// Prometheus remote write, protobuf in a snappy block.
//
// The writing half appends to slices of its caller and keeps nothing. The
// reading half returns views of its caller's bytes and says so where it does.
package wire
