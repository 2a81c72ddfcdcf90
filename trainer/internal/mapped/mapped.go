// Package mapped reads files through memory that the system can take back: large ones need no room beside what is made of them.
package mapped

import (
	"os"

	"github.com/edsrzf/mmap-go"
)

// File is a file in memory, read only.
type File struct{ data mmap.MMap }

// Open maps a file that is not empty.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // read only; the mapping outlives it
	data, err := mmap.Map(file, mmap.RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return &File{data}, nil
}

// Bytes is the whole file, until Close.
func (f *File) Bytes() []byte { return f.data }

// Close unmaps the file; nothing taken from it may be used afterwards.
func (f *File) Close() error { return f.data.Unmap() }
