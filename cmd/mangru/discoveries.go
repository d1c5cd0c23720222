package main

// Every service discovery of Prometheus is part of the program. They are imported
// here, and nowhere else, because each cloud's SDK takes long to compile: tests of
// packages, and above all those under the race detector, do without.
import _ "github.com/prometheus/prometheus/discovery/install"
