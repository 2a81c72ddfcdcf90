package data

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Source is one entry of `datasets:`.
type Source struct {
	// Path is a file, a folder (all its files, hidden ones left out) or a pattern with *, ?, [...] and ** for any number of
	// folders. ${NAME} and $NAME are taken from the environment; GOROOT is also found through the go command. A leading ~/ is
	// the home folder.
	Path string
	// Field holds the text of a line of JSONL; "" means "text".
	Field string
	// Type is "jsonl" or "text"; "" and "completion" (axolotl's name for plain text) go by the file's extension: .jsonl and
	// .ndjson are JSONL, anything else is one document. .gz and .zst around either are unpacked.
	Type string
	// InvalidUTF8 says what becomes of a document that is not UTF-8: "error" (or "") or "skip", which counts it.
	InvalidUTF8 string
	// MinDocumentTokens leaves out, and counts, documents with fewer tokens. At 0 a document without tokens is an error.
	MinDocumentTokens int
}

// validate checks the fields that have a fixed set of values.
func (s Source) validate() error {
	if s.Path == "" {
		return fmt.Errorf("path is empty; name a file, a folder or a pattern")
	}
	switch s.Type {
	case "", "completion", "jsonl", "text":
	default:
		return fmt.Errorf("type %q is not known; use jsonl or text, or leave it out to go by the extension", s.Type)
	}
	switch s.InvalidUTF8 {
	case "", "error", "skip":
	default:
		return fmt.Errorf("invalid_utf8 %q is not known; use error or skip", s.InvalidUTF8)
	}
	if s.MinDocumentTokens < 0 {
		return fmt.Errorf("min_document_tokens is %d; it must be at least 0", s.MinDocumentTokens)
	}
	return nil
}

// Files returns the sorted paths of the files that the source names, at least one.
func (s Source) Files() ([]string, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	path, err := expand(s.Path)
	if err != nil {
		return nil, fmt.Errorf("data: path %q: %w", s.Path, err)
	}
	files, err := find(path)
	if err != nil {
		return nil, fmt.Errorf("data: path %q: %w", s.Path, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("data: path %q matches no file (looked for %s); check the spelling and the current folder", s.Path, path)
	}
	return files, nil
}

// expand replaces ~/, ${NAME} and $NAME.
func expand(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = "${HOME}/" + rest
	}
	var failed error
	expanded := os.Expand(path, func(name string) string {
		value, err := variable(name)
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	return expanded, failed
}

func variable(name string) (string, error) {
	if name == "GOROOT" {
		return goRoot()
	}
	if value, ok := os.LookupEnv(name); ok {
		return value, nil
	}
	return "", fmt.Errorf("the environment has no variable %q; set it, or write the path out", name)
}

// goRoot finds the Go tree: the environment, the go command, or where this program's Go was.
func goRoot() (string, error) {
	candidates := []string{os.Getenv("GOROOT")}
	if candidates[0] == "" {
		if out, err := exec.Command("go", "env", "GOROOT").Output(); err == nil {
			candidates = append(candidates, strings.TrimSpace(string(out)))
		}
		candidates = append(candidates, runtimeGoRoot())
	}
	for _, dir := range candidates {
		if info, err := os.Stat(filepath.Join(dir, "src")); dir != "" && err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", fmt.Errorf("GOROOT is not set to a Go tree (looked at %q) and no go command answers; install Go or set GOROOT", candidates)
}

func runtimeGoRoot() string {
	return runtime.GOROOT() //nolint:staticcheck // the last resort, on a machine without a go command
}
