// Package dashboard is the last stage of the path and the only one that people
// meet: it signs them in, keeps boards and data sources, serves the web UI, and
// answers the Grafana-shaped HTTP API under /api.
//
// It never reads samples itself. A panel's query goes through a data source,
// over HTTP and signed, like that of any other client.
package dashboard
