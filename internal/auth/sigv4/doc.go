// Package sigv4 holds both ends of AWS' Signature Version 4: the round tripper
// that signs what the collector sends, and the verifier at the edge of the
// server, which reads a request's body whole, hashes exactly those bytes before
// anything is decoded, and lends them to the handler until the request is done.
//
// The verifier is strict first; what real clients do differently is tolerated
// one by one, behind a switch and a counter each.
package sigv4
