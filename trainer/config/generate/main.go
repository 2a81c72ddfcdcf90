// Command generate writes configs/schema.json and the table of keys in README.md; go generate runs it in trainer/config.
package main

import (
	"log"
	"os"

	"github.com/ringgrad/ringgrad/trainer/config"
)

func main() {
	schema, err := config.Schema()
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("../../configs/schema.json", schema, 0o644); err != nil {
		log.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("../../README.md", config.InsertTable(readme), 0o644); err != nil {
		log.Fatal(err)
	}
}
