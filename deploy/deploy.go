// Package deploy holds what is put into a cluster.
package deploy

import (
	"embed"
	"io/fs"
)

//go:embed all:helm/mangru
var helm embed.FS

// Chart is the Helm chart, with its presets.
func Chart() fs.FS {
	chart, err := fs.Sub(helm, "helm/mangru")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return chart
}
