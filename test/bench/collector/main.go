//go:build linux

// Command collector measures what collectors cost: it serves the pages of a
// cluster, lets each collector scrape them and write to a sink of its own, and
// prints what arrived and what that took. README.md says how to use it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// usageError is a mistake on the command line.
type usageError struct{ error }

const usage = `usage: collector [MODE] [flags]

modes: cost (default), outage, start, targets: what to measure
       record: make new recordings
       pages, sink: the servers alone, as the modes start them
"collector MODE -h" lists the flags.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &wrong):
		fmt.Fprintf(os.Stderr, "collector: %v\n%s\n", err, usage)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	mode := "cost"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		mode, args = args[0], args[1:]
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	switch mode {
	case "cost", "outage", "start", "targets":
		return measure(ctx, log, mode, args)
	case "record":
		return recordCommand(ctx, log, args)
	case "pages":
		return pagesCommand(ctx, args)
	case "sink":
		return sinkCommand(ctx, args)
	}
	return usageError{fmt.Errorf("unknown mode %q", mode)}
}
