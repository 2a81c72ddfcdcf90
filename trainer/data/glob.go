package data

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// find returns the sorted files that a path names: the file itself, all files of a folder, or those a pattern matches.
func find(name string) ([]string, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		name = filepath.Join(name, "**")
	case err == nil:
		return []string{filepath.Clean(name)}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case !hasMeta(name):
		return nil, nil
	}
	g := globber{found: map[string]bool{}}
	segments := strings.Split(filepath.ToSlash(filepath.Clean(name)), "/")
	base := "."
	if segments[0] == "" { // an absolute path
		base, segments = "/", segments[1:]
	}
	if segments[len(segments)-1] == "**" {
		segments = append(segments, "*")
	}
	if err := g.walk(base, segments); err != nil {
		return nil, err
	}
	files := make([]string, 0, len(g.found))
	for file := range g.found {
		files = append(files, file)
	}
	slices.Sort(files)
	return files, nil
}

func hasMeta(name string) bool { return strings.ContainsAny(name, "*?[") }

// globber collects the regular files that a pattern matches. As in a shell, wildcards do not match a leading dot.
type globber struct{ found map[string]bool }

// walk matches segments below dir. ** is any number of folders, none included; links to folders are not followed there,
// so that a loop cannot trap it.
func (g *globber) walk(dir string, segments []string) error {
	first, rest := segments[0], segments[1:]
	if !hasMeta(first) {
		next := filepath.Join(dir, first)
		info, err := os.Stat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return g.visit(next, info.IsDir(), info.Mode().IsRegular(), rest)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if first == "**" {
		if err := g.walk(dir, rest); err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() && e.Name()[0] != '.' {
				if err := g.walk(filepath.Join(dir, e.Name()), segments); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, e := range entries {
		if err := g.entry(dir, e.Name(), first, rest); err != nil {
			return err
		}
	}
	return nil
}

// entry visits one name of a folder if the segment matches it.
func (g *globber) entry(dir, name, segment string, rest []string) error {
	matched, err := path.Match(segment, name)
	if err != nil {
		return err
	}
	if !matched || name[0] == '.' && segment[0] != '.' {
		return nil
	}
	full := filepath.Join(dir, name)
	info, err := os.Stat(full)
	if errors.Is(err, fs.ErrNotExist) { // a link to nowhere
		return nil
	}
	if err != nil {
		return err
	}
	return g.visit(full, info.IsDir(), info.Mode().IsRegular(), rest)
}

// visit goes on below a folder, or takes a file that the whole pattern has matched.
func (g *globber) visit(name string, isDir, isFile bool, rest []string) error {
	if isDir && len(rest) > 0 {
		return g.walk(name, rest)
	}
	if isFile && len(rest) == 0 {
		g.found[name] = true
	}
	return nil
}
