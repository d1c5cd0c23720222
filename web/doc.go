// Package web holds the user interface: a React program in src, built by Vite into dist, and embedded into the binary when the build tag
// embedui is set. Without the tag, so that Go code builds and tests without Node, Assets is one page that says so.
//
// It stands at the very end of the path: it talks HTTP to the dashboard process that serves it and to nothing else. Assets returns
// read-only files that the caller must not try to change.
package web
