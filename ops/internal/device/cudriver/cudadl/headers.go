//go:build ringcuda && cgo

package cudadl

import "embed"

// Headers are the folder include, for tests that compile C against it.
//
//go:embed include
var Headers embed.FS
