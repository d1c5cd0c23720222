// Package members shares the targets of a collector among its replicas, without
// a gap, without an overlap, and without the replicas talking to each other.
//
//	pods watch -> Watch -> table (who serves when) -> Ring (who owns what when)
//
// Every replica watches the pods of its own controller and computes the same
// answer from what the API server says. It reaches each of them at another
// moment, so nothing takes effect when it is heard of. It takes effect at a
// time that all of them read off the same object: the moment that a pod became
// ready or was asked to leave, plus a delay that is longer than news takes to
// get around. Between replicas that have heard of a change by then there is
// not one scrape that two of them or none of them would do.
//
// What the rules are built on:
//   - The times come from the kubelets and the API server. A kubelet's clock
//     that is late by more than the delay makes a change take effect as it is
//     heard of, which can cost or double a scrape.
//   - A replica that the API server calls ready is taken to scrape. One that
//     has crashed is replaced when it stops being called so.
//   - A replica that cannot reach the API server goes on with what it knows.
package members
