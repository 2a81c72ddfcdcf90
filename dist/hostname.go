package dist

import "os"

// Hostname is the name of this host, for what people read; where the system does not tell it, it says so.
func Hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "an unknown host"
	}
	return name
}
