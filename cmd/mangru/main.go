// Command mangru takes a Kubernetes cluster to a dashboard. It only chooses a
// mode; everything else is in internal/app.
package main

import (
	"os"

	"github.com/mangru/mangru/internal/app"
)

func main() { os.Exit(app.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
