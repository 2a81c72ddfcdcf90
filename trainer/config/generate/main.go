// Command generate writes configs/schema.json; go generate runs it in trainer/config.
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
}
