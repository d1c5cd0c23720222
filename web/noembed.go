//go:build !embedui

package web

import (
	"embed"
	"io/fs"
)

//go:embed notbuilt
var notBuilt embed.FS

// Assets is a single page that says how to get the UI.
func Assets() fs.FS {
	sub, err := fs.Sub(notBuilt, "notbuilt")
	if err != nil {
		// The folder is part of the program; without it the program would not have been built.
		panic("web: embedded page has no notbuilt folder: " + err.Error())
	}
	return sub
}
