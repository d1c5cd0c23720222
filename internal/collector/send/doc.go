// Package send delivers frames to one remote-write endpoint.
//
//	scrape -> buffer -> [send] -> HTTP, signed
//
// A Sender has workers. Each leases spans from the endpoint's Queue, makes one
// request of them, and settles them when the endpoint has accepted or refused
// them for good. Nothing overtakes: the queue gives the spans of one target to
// one worker at a time, and what could not be delivered goes back to its place,
// where age and size decide how long it may wait. Workers come when there is
// more to send than those at work take, and go when there is not, or when the
// endpoint fails: then a single one tries, waiting longer and longer.
//
// Remote write 2.0 is spoken with those who understand it and 1.0 with the rest;
// see negotiation.
//
// Frames stay the property of the queue; a request's bytes belong to its worker
// and are used again.
package send
