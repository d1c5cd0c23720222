// Command image makes the container image of mangru, from nothing but the
// program: no Docker, no base image, nothing fetched.
//
//	go run ./deploy/image -binary bin/mangru -tag mangru:v1 -o bin/mangru-image.tar
package main

import (
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"strings"
)

func main() {
	var s spec
	out := flag.String("o", "bin/mangru-image.tar", "archive to write")
	flag.StringVar(&s.Binary, "binary", "bin/mangru", "static Linux program")
	flag.StringVar(&s.Tag, "tag", "", "name of the image, such as registry.example/mangru:v1")
	flag.Parse()
	if err := run(s, *out); err != nil {
		fmt.Fprintln(os.Stderr, "image: "+err.Error())
		os.Exit(1)
	}
}

func run(s spec, out string) (err error) {
	_, version, ok := strings.Cut(path.Base(s.Tag), ":")
	if !ok || version == "" {
		return fmt.Errorf("-tag: found %q, wanted NAME:VERSION", s.Tag)
	}
	s.Version = version
	if s.Arch, err = archOf(s.Binary); err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	if err := errors.Join(writeArchive(f, s), f.Close()); err != nil {
		return err
	}
	info, err := os.Stat(out)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s (%.1f MB)\n", out, s.Tag, float64(info.Size())/1e6)
	return nil
}

// archOf checks that a program needs no libraries and returns what it runs on.
func archOf(file string) (string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w; wanted a Linux program", file, err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is dynamically linked, and the image holds no libraries; build it with CGO_ENABLED=0", file)
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	default:
		return "", fmt.Errorf("%s is for %s; known are amd64 and arm64", file, f.Machine)
	}
}
