package main

import (
	"regexp"
	"strconv"
	"strings"
)

// usage is what ptxas -v says of a kernel. Sizes are bytes.
type usage struct {
	function   string
	registers  int // of a thread
	barriers   int
	shared     int // static shared memory of a block
	stack      int // of a thread, in local memory
	spillStore int
	spillLoad  int
}

// remark is a message of ptxas: "C7519", or a warning without a number.
type remark struct {
	code, text string
	function   string // or nothing, if the message names none
	warning    bool
}

// report is the output of ptxas -v for one file.
type report struct {
	usages  []usage
	remarks []remark
}

var (
	compiling   = regexp.MustCompile(`Compiling entry function '([^']+)'`)
	frame       = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	used        = regexp.MustCompile(`Used (\d+) registers`)
	barrierUse  = regexp.MustCompile(`used (\d+) barriers`)
	sharedUse   = regexp.MustCompile(`(\d+) bytes smem`)
	remarkLine  = regexp.MustCompile(`^ptxas\s.*?(info|warning)\s*:\s*(?:\((C\d+)\)\s*)?(.*)$`)
	inFunction  = regexp.MustCompile(`in (?:the )?function '?([^'\s]+?)'?$`)
	forFunction = regexp.MustCompile(`for (?:entry )?function '([^']+)'`)
)

// parseReport reads it. Frames of functions that an entry calls count for the entry.
func parseReport(text string) report {
	var r report
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := compiling.FindStringSubmatch(line); m != nil {
			r.usages = append(r.usages, usage{function: m[1]})
			continue
		}
		if m := remarkLine.FindStringSubmatch(line); m != nil && (m[1] == "warning" || m[2] != "") {
			r.remarks = append(r.remarks, remark{code: m[2], text: m[3], function: functionOf(m[3]), warning: m[1] == "warning"})
			continue
		}
		if len(r.usages) > 0 {
			r.usages[len(r.usages)-1].add(line)
		}
	}
	return r
}

func functionOf(message string) string {
	for _, pattern := range []*regexp.Regexp{inFunction, forFunction} {
		if m := pattern.FindStringSubmatch(message); m != nil {
			return m[1]
		}
	}
	return ""
}

func (u *usage) add(line string) {
	number := func(s string) int { n, _ := strconv.Atoi(s); return n } // the patterns let only digits through
	if m := frame.FindStringSubmatch(line); m != nil {
		u.stack += number(m[1])
		u.spillStore += number(m[2])
		u.spillLoad += number(m[3])
	}
	if m := used.FindStringSubmatch(line); m != nil {
		u.registers = number(m[1])
	}
	if m := barrierUse.FindStringSubmatch(line); m != nil {
		u.barriers = number(m[1])
	}
	if m := sharedUse.FindStringSubmatch(line); m != nil {
		u.shared = number(m[1])
	}
}
