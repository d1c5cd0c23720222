//go:build embedui

package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Assets is the built UI: index.html at the root, everything else below assets and public. File names below assets carry a hash of
// their content and may be cached for ever; the others may not.
func Assets() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		// The folder is part of the program; without it the program would not have been built.
		panic("web: embedded UI has no dist folder: " + err.Error())
	}
	return sub
}
