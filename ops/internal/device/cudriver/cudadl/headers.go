//go:build ringcuda && cgo

package cudadl

import "embed"

// Headers has the folder include, for tests that compile C against it. That it is embedded, and link too, keeps both in vendor folders.
//
//go:embed include link
var Headers embed.FS
