// Package send delivers frames to one remote-write endpoint.
//
//	scrape -> buffer -> [send] -> HTTP, signed
//
// An endpoint has shards; each takes spans from its Source, makes one request
// of them, and settles them when the endpoint has accepted or refused them for
// good. Nothing overtakes: a shard has one request under way, and what could
// not be delivered goes back to its place in the queue, where age and size
// decide how long it may wait.
//
// Frames stay the property of the source; a request's bytes belong to its shard
// and are used again.
package send
