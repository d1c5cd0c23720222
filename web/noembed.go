//go:build !embedui

package web

import (
	"io/fs"
	"testing/fstest"
)

const notBuilt = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Mangru</title>
<body style="font: 16px sans-serif; margin: 4rem auto; max-width: 36rem">
<h1>The web UI is not part of this build</h1>
<p>This program was built without the <code>embedui</code> tag. Run <code>make build</code>, which builds the UI and embeds it.</p>
<p>The API works all the same.</p>
</body>
</html>
`

// Assets is a single page that says how to get the UI.
func Assets() fs.FS {
	return fstest.MapFS{"index.html": &fstest.MapFile{Data: []byte(notBuilt), Mode: 0o444}}
}
