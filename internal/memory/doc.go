// Package memory keeps a process small: it finds the memory limit of the
// container, paces the garbage collector, and gives back what only starting up
// needed. It imports the standard library and x/sys only (import level 0).
package memory
