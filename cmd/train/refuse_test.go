package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// refuses PATTERN COMMAND...: the command ends with status 2, says why in a line that the pattern matches, and leaves every file as
// it was. With --json the same message is its one document.
func refuses(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	before := snapshot(ts)
	if got := status(ts, ts.Exec(args[1], args[2:]...)); got != exitUsage {
		ts.Fatalf("exit status %d, want %d\n%s", got, exitUsage, ts.ReadFile("stderr"))
	}
	text := ts.ReadFile("stderr")
	if !pattern.MatchString(text) {
		ts.Fatalf("the message does not match %s:\n%s", pattern, text)
	}
	wantMessage(ts, text)
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout of a refused command: %s", out)
	}
	ts.Check(ignoreExit(ts.Exec(args[1], withJSON(args[2:])...)))
	wantDocument(ts, strings.TrimSuffix(strings.TrimPrefix(text, "train: "), "\n"))
	if after := snapshot(ts); !maps.Equal(before, after) {
		ts.Fatalf("files were touched: %v before, %v after", before, after)
	}
}

// withJSON adds --json, before what supervise starts.
func withJSON(args []string) []string {
	return slices.Insert(slices.Clone(args), len(own(args)), "--json")
}

func ignoreExit(err error) error {
	if err == nil {
		return fmt.Errorf("with --json it ends with status 0")
	}
	return nil
}

// wantMessage wants one line, or a heading and an indented line a problem; and no traces of Go.
func wantMessage(ts *testscript.TestScript, text string) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		if i == 0 && !strings.HasPrefix(line, "train: ") || i > 0 && !strings.HasPrefix(line, "  ") {
			ts.Fatalf("line %d is out of form:\n%s", i+1, text)
		}
		if strings.Contains(line, "goroutine") || strings.Contains(line, "%!") || strings.Contains(line, "panic") {
			ts.Fatalf("line %d is not meant for users:\n%s", i+1, text)
		}
	}
}

func wantDocument(ts *testscript.TestScript, message string) {
	var document struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &document))
	if document.OK == nil || *document.OK || document.Error != message {
		ts.Fatalf("the document has ok %v and error %q, want false and %q", document.OK, document.Error, message)
	}
}

// snapshot maps every path below the script's folder to mode, size and time.
func snapshot(ts *testscript.TestScript) map[string]string {
	found := map[string]string{}
	root := ts.Getenv("WORK")
	ts.Check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		found[path] = fmt.Sprint(info.Mode(), info.Size(), info.ModTime().UnixNano())
		return nil
	}))
	return found
}

// damage KIND FILE: makes a good safetensors file bad.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[1])
	content, err := os.ReadFile(path)
	ts.Check(err)
	switch args[0] {
	case "truncated":
		content = content[:len(content)-100]
	case "too-long":
		content = append(content, make([]byte, 100)...)
	case "nan":
		copy(content[len(content)-4:], []byte{0, 0, 0xc0, 0x7f})
	case "wrong":
		content[len(content)-1] ^= 0x40 // the exponent of the last number
	default:
		ts.Fatalf("damage %q is not known", args[0])
	}
	ts.Check(os.WriteFile(path, content, 0o644))
}

// binary FILE HEX...: writes bytes.
func binary(ts *testscript.TestScript, _ bool, args []string) {
	content, err := hex.DecodeString(strings.Join(args[1:], ""))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), content, 0o644))
}

// edit FILE OLD NEW: replaces text that must be there; escapes as in Go strings.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	content, err := os.ReadFile(path)
	ts.Check(err)
	if !strings.Contains(string(content), args[1]) {
		ts.Fatalf("%s does not contain %q:\n%s", args[0], args[1], content)
	}
	ts.Check(os.WriteFile(path, []byte(strings.Replace(string(content), args[1], args[2], 1)), 0o644))
}

// copyFolder FROM TO: copies the files of a folder.
func copyFolder(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}

// plain STREAM: the last command printed no escape codes, no carriage returns, and no line of a table that is too wide.
func plain(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if strings.ContainsAny(text, "\x1b\r") {
		ts.Fatalf("%s is not plain: %q", args[0], text)
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > tableWidth && slices.Contains(args, "stdout") {
			ts.Fatalf("%d columns: %s", n, line)
		}
	}
}
