// Package differential holds no code but tests: collectors run side by side, as
// processes, with the same configuration, targets and endpoints, and what arrives
// from them is compared sample by sample.
//
//   - TestPrometheus: Prometheus v0.315 in agent mode. Its program is taken where
//     $MANGRU_PEERS or the benchmark's cache has it, else its packages, put together
//     as the program does.
//   - TestOTelCollector: the OpenTelemetry Collector 0.164, under naming: otel.
//     Where there is none, what it sent when it was there is in testdata;
//     MANGRU_PEERS=DIR go test -run OTel -update records it anew, and
//     MANGRU_BUILD_PEERS=1 builds it first, which takes minutes.
//
// Two collectors scrape at different moments, so a target gives each of them a
// life of its own from the beginning, page after page, and moments are numbers
// of scrapes. What is not the same must be in testdata/*.differences, with the
// reason; what is in there and is the same fails the test as well. -dump FILE
// writes all that is not listed.
package differential
