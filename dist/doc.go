// Package dist is communication between ranks: a ring shift and collectives over small engines.
package dist
