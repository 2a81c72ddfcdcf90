// Package sass reads the machine code of a GPU as nvdisasm lists it: its instructions by class, and the loop that the tensor cores work in.
package sass

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Instruction is one line of a listing.
type Instruction struct {
	Address int    // bytes from the start of the function
	Guard   string // the predicate without its @ ("P0", "!UP1"), or nothing
	Op      string // with its modifiers: HMMA.16816.F32.BF16
	Args    string // the operands as listed
	Target  int    // where a branch goes, or -1
}

// Function is the code of one function, in the order of addresses, with what it calls behind it.
type Function struct {
	Name string
	Code []Instruction
}

var (
	sectionLine = regexp.MustCompile(`^\s*\.section\s+\.text\.([^,\s]+)`)
	labelLine   = regexp.MustCompile(`^(\.L_[\w.$]+|\$[\w.$]+):`)
	codeLine    = regexp.MustCompile(`^\s*/\*([0-9a-f]{4,})\*/\s+(?:@(!?U?P[T0-9]+)\s+)?([A-Z][A-Z0-9_]*[A-Za-z0-9_.]*)\s*([^;]*);`)
	branchLabel = regexp.MustCompile("`\\((\\.L_[\\w.$]+|\\$[\\w.$]+)\\)")
)

// Parse reads what `nvdisasm -c` prints of a cubin.
func Parse(listing string) ([]Function, error) {
	var functions []Function
	labels := map[string]int{}
	for line := range strings.Lines(listing) {
		switch {
		case sectionLine.MatchString(line):
			if err := resolve(functions, labels); err != nil {
				return nil, err
			}
			clear(labels)
			functions = append(functions, Function{Name: sectionLine.FindStringSubmatch(line)[1]})
		case len(functions) == 0:
		case labelLine.MatchString(line):
			labels[labelLine.FindStringSubmatch(line)[1]] = end(functions[len(functions)-1])
		case codeLine.MatchString(line):
			f := &functions[len(functions)-1]
			f.Code = append(f.Code, instruction(codeLine.FindStringSubmatch(line)))
		}
	}
	if len(functions) == 0 {
		return nil, fmt.Errorf("sass: the listing has no .text section; is it what nvdisasm -c prints of a cubin?")
	}
	return functions, resolve(functions, labels)
}

func instruction(fields []string) Instruction {
	address, _ := strconv.ParseInt(fields[1], 16, 64) // the pattern lets only hexadecimal digits through
	return Instruction{Address: int(address), Guard: fields[2], Op: fields[3], Args: strings.TrimSpace(fields[4]), Target: -1}
}

// end is the address behind the last instruction. Every instruction has 16 bytes since Volta.
func end(f Function) int {
	if len(f.Code) == 0 {
		return 0
	}
	return f.Code[len(f.Code)-1].Address + 16
}

// resolve gives the branches of the last function their targets.
func resolve(functions []Function, labels map[string]int) error {
	if len(functions) == 0 {
		return nil
	}
	f := functions[len(functions)-1]
	for i := range f.Code {
		in := &f.Code[i]
		if in.Base() != "BRA" {
			continue
		}
		label := branchLabel.FindStringSubmatch(in.Args)
		if label == nil {
			return fmt.Errorf("sass: %s branches at %#x to %q, which is not a label", f.Name, in.Address, in.Args)
		}
		target, ok := labels[label[1]]
		if !ok {
			return fmt.Errorf("sass: %s branches at %#x to %s, which the listing lacks", f.Name, in.Address, label[1])
		}
		in.Target = target
	}
	return nil
}

// Base is the operation without its modifiers.
func (in Instruction) Base() string {
	base, _, _ := strings.Cut(in.Op, ".")
	return base
}

// conditional says whether code behind a branch or an exit can be reached through it.
func (in Instruction) conditional() bool {
	if in.Guard != "" && in.Guard != "PT" {
		return true
	}
	return in.Base() == "BRA" && !strings.HasPrefix(in.Args, "`")
}
