// Command table prints the tables of docs/scaling.md.
//
//	go run ./trainer/estimate/scaling/table
package main

import (
	"fmt"
	"os"

	"github.com/ringgrad/ringgrad/trainer/estimate/scaling"
)

func main() {
	for _, t := range scaling.Tables() {
		if _, err := fmt.Printf("## %s\n\n%s\n", t.Title, t.Markdown); err != nil {
			fmt.Fprintln(os.Stderr, "table:", err)
			os.Exit(1)
		}
	}
}
